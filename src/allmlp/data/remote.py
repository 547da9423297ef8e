"""Shards at an address such as s3://bucket/folder, fetched through fsspec into the cache folder, each whole or not at all."""

import importlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from allmlp.data import index
from allmlp.data.fetched import kept, leave_room
from allmlp.data.index import Index, Shard, checksum
from allmlp.data.progress import watched
from allmlp.errors import DataError

MOST_INDEX_BYTES = 2_000_000_000
"""A larger index is refused unread."""


def is_address(spec: str) -> bool:
    """Whether it names a protocol."""
    return "://" in spec


def fetch(urls: Sequence[str], *, quiet: bool = False) -> tuple[list[tuple[str, Path]], Index | None]:
    """(address, local copy) of each shard, and the index that lies beside them, if any. One address may be of a folder.

    A shard that an index knows is compared with its checksum. Raises DataError for what cannot be reached or is damaged.
    """
    place = urls[0]
    try:
        files, first = _filesystem(place)
        folder = str(PurePosixPath(first).parent) if first.endswith(".tar") else first.rstrip("/")
        known = _index(files, f"{folder}/{index.NAME}")
        of = {shard.file: shard for shard in known.shards} if known is not None else {}
        if not first.endswith(".tar"):
            paths = [f"{folder}/{name}" for name in of] or sorted(map(str, files.glob(f"{folder}/[!.]*.tar")))
        else:
            paths = [_filesystem(url)[1] for url in urls]
        if not paths:
            raise DataError(f"{place} has no shards", mend="give the address of a folder of .tar files, or a pattern of them")
        steps = watched(paths, total=len(paths), what="fetching shards", quiet=quiet)
        return [(path, _copy(files, path, of.get(PurePosixPath(path).name))) for path in steps], known
    except DataError:
        raise
    except Exception as error:  # each protocol's library has errors of its own
        lines = str(error).splitlines() or [""]
        raise DataError(
            f"{place} cannot be fetched: {type(error).__name__}: {lines[0][:200]}",
            mend="check the address, the network and your access rights",
        ) from None


def _filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it."""
    try:
        core = importlib.import_module("fsspec.core")
        return core.url_to_fs(url)
    except ImportError as error:
        raise DataError(f"{url} needs a library: {error}", mend="pip install 'allmlp[shards]'") from None


def _index(files: Any, path: str) -> Index | None:
    if not files.exists(path):
        return None
    if files.size(path) > MOST_INDEX_BYTES:
        raise DataError(f"{path} has {files.size(path):,} bytes", mend="an index is a tenth of that: check the address")
    return index.read_index(files.cat_file(path), path)


def _copy(files: Any, path: str, known: Shard | None) -> Path:
    info = files.info(path)
    version = [str(info.get(name)) for name in ("ETag", "etag", "mtime", "LastModified", "created") if info.get(name)]

    def make(target: Path) -> None:
        leave_room(target, int(info.get("size") or 0))
        files.get_file(path, str(target))
        if known is not None and checksum(target) != known.sha256:
            raise DataError(f"{path} does not have its index's checksum", mend="pack or upload it again")

    made_from = [known.sha256] if known is not None else [files.protocol, path, info.get("size"), *version]
    return kept("shards", PurePosixPath(path).name, made_from, make)
