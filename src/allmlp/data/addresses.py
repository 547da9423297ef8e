"""Files at an address such as s3://bucket/folder, through whichever of fsspec's file systems is installed."""

import importlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from allmlp.data.fetched import kept, leave_room
from allmlp.data.index import Shard, checksum
from allmlp.errors import DataError
from allmlp.pixels.read import UnreadableImage

EXTRA = ("http", "https", "s3", "s3a", "gs", "gcs")
"""Protocols whose libraries the extra `shards` brings."""
PAUSES = (0.5, 2.0)
"""Seconds before a file is asked for again, when the network rather than the file was at fault."""


def is_address(spec: str) -> bool:
    """Whether it names a protocol."""
    return "://" in spec


def file_name(place: str) -> str:
    """The last part of a path or an address, without the ?query that a signed one has."""
    return PurePosixPath(place.partition("?")[0] if is_address(place) else place).name


def filesystem(url: str) -> tuple[Any, str]:
    """fsspec's file system and the path in it. Raises DataError where its library is not installed."""
    try:
        core = importlib.import_module("fsspec.core")
        return core.url_to_fs(url)
    except ImportError as error:
        extra = url.partition("://")[0] in EXTRA
        raise DataError(
            f"{url} needs a library: {error}", hint="pip install 'allmlp[shards]'" if extra else "install what it names"
        ) from None


@contextmanager
def reaching(place: str) -> Iterator[None]:
    """Whatever a protocol's library raises becomes a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # each protocol's library has errors of its own
        lines = str(error).splitlines() or [""]
        raise DataError(
            f"{place} cannot be fetched: {type(error).__name__}: {lines[0][:200]}",
            hint="check the address, the network and your access rights",
        ) from None


def listed(url: str) -> Iterator[tuple[str, str]]:
    """(address, stamp) of every file in a folder, or of those a pattern with * matches, sorted; hidden ones aside.

    stamp: size and time or tag, as far as the place tells them. Raises DataError for what cannot be listed.
    """
    if "::" in url:
        raise DataError(f"{url} is of several file systems, which name one file only", hint="name a file, or unpack it")
    with reaching(url):
        files, path = filesystem(url)
        below = path.partition("*")[0].rpartition("/")[0] if "*" in path else path.rstrip("/")
        found = files.glob(path, detail=True) if "*" in path else files.find(path, detail=True)
    for name in sorted(found):
        parts = name.removeprefix(below).strip("/").split("/")
        if found[name].get("type") != "directory" and not any(part.startswith(".") for part in parts):
            yield files.unstrip_protocol(name), " ".join(version(found[name]))


def stamp(url: str) -> str:
    """The same of one file. Raises DataError where there is none."""
    with reaching(url):
        files, path = filesystem(url)
        return " ".join(version(files.info(path)))


def version(info: Mapping[str, Any]) -> list[str]:
    """Size, and whatever else tells a file from an older one at its address."""
    tags = (info.get(name) for name in ("ETag", "etag", "mtime", "LastModified", "created"))
    return [str(value) for value in (info.get("size"), *tags) if value]


def local(url: str) -> Path:
    """A copy of one file in the cache folder, fetched where it is not there yet. Raises DataError."""
    with reaching(url):
        return copied(*filesystem(url), None)


def copied(files: Any, path: str, known: Shard | None) -> Path:
    """The same of a path in one of fsspec's file systems. known: compare it with this checksum."""
    info = files.info(path)

    def make(target: Path) -> None:
        leave_room(target, int(info.get("size") or 0))
        files.get_file(path, str(target))
        if known is not None and checksum(target) != known.sha256:
            raise DataError(f"{path} does not have its index's checksum", hint="pack or upload it again")

    made_from = [known.sha256] if known is not None else [files.protocol, path, *version(info)]
    return kept("shards", file_name(path), made_from, make)


def content(url: str) -> bytes:
    """The bytes of one picture file.

    Raises UnreadableImage where there is none, or it may not be read; DataError where the place cannot be reached, which is
    no fault of the picture's.
    """
    with reaching(url):
        files, path = filesystem(url)
        for pause in PAUSES:
            try:
                return _read(files, path, url)
            except UnreadableImage:
                raise
            except Exception:
                time.sleep(pause)
        return _read(files, path, url)


def _read(files: Any, path: str, url: str) -> bytes:
    try:
        return bytes(files.cat_file(path))
    except (FileNotFoundError, IsADirectoryError):
        raise UnreadableImage(url, "not a file") from None
    except PermissionError:
        raise UnreadableImage(url, "it may not be read") from None
