"""What was unpacked, converted or fetched once, and is found again by what it was made from."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from allmlp.errors import DataError
from allmlp.files import cache_folder, whole_file

SPARE = 1 << 30
"""Bytes of the disk that are left free: what a small archive unpacks to is anyone's guess."""
ROOM = "make room, or set ALLMLP_CACHE to a folder on another disk"


def kept(kind: str, name: str, made_from: Iterable[object], make: Callable[[Path], None]) -> Path:
    """A file in the cache folder; where it is not there yet, `make` writes it to the path it is given.

    name: its last part, for people who look. made_from: what decides its content. Raises DataError when the disk is
    full or may not be written.
    """
    path = place(kind, name, made_from)
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as temporary:
                make(temporary)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}", hint=ROOM) from None
    return path


def place(kind: str, name: str, made_from: Iterable[object]) -> Path:
    """Where it is kept, there or not."""
    key = hashlib.sha256(repr(list(made_from)).encode()).hexdigest()[:16]
    return cache_folder() / kind / f"{key}-{name}"


def identity(path: Path) -> tuple[str, int, int]:
    """What tells a file apart from another, or from an older one of its name."""
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns


def leave_room(path: Path, needed: int = 0) -> None:
    """Raises DataError when writing so many bytes beside this path would fill the disk."""
    free = shutil.disk_usage(path.parent).free
    if free - needed < SPARE:
        raise DataError(f"{path.parent} has {free / 1e9:.1f} GB of disk left, too little", hint=ROOM)
