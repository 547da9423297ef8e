"""Shards at an address such as s3://bucket/folder, fetched through fsspec into the cache folder, each whole or not at all."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from allmlp.data import index
from allmlp.data.addresses import copied, filesystem, reaching
from allmlp.data.index import Index
from allmlp.data.progress import watched
from allmlp.errors import DataError

MOST_INDEX_BYTES = 2_000_000_000
"""A larger index is refused unread."""


def fetch(urls: Sequence[str], *, quiet: bool = False) -> tuple[list[tuple[str, Path]], Index | None]:
    """(address, local copy) of each shard, and the index that lies beside them, if any. One address may be of a folder.

    A shard that an index knows is compared with its checksum. Raises DataError for what cannot be reached or is damaged.
    """
    place = urls[0]
    with reaching(place):
        files, first = filesystem(place)
        folder = first.rpartition("/")[0] if first.endswith(".tar") else first.rstrip("/")
        known = _index(files, f"{folder}/{index.NAME}")
        of = {shard.file: shard for shard in known.shards} if known is not None else {}
        if not first.endswith(".tar"):
            paths = [f"{folder}/{name}" for name in of] or sorted(map(str, files.glob(f"{folder}/[!.]*.tar")))
        else:
            paths = [filesystem(url)[1] for url in urls]
        if not paths:
            raise DataError(f"{place} has no shards", hint="give the address of a folder of .tar files, or a pattern of them")
        steps = watched(paths, total=len(paths), what="fetching shards", quiet=quiet)
        return [(path, copied(files, path, of.get(PurePosixPath(path).name))) for path in steps], known


def _index(files: Any, path: str) -> Index | None:
    if not files.exists(path):
        return None
    if files.size(path) > MOST_INDEX_BYTES:
        raise DataError(f"{path} has {files.size(path):,} bytes", hint="an index is a tenth of that: check the address")
    return index.read_index(files.cat_file(path), path)
