"""Files that are written whole or not at all, and what is said when they cannot be."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from allmlp.errors import RunError

_TEMPORARY = re.compile(r"\..+(\.[A-Za-z0-9]+)\.[a-z0-9_]{8}\1")
"""The names that `whole_file` has tempfile give."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends without an error."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        fsync(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        fsync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def half_written(folder: Path) -> list[Path]:
    """What `whole_file` was writing into a folder when it was killed."""
    return [path for path in folder.glob(".*") if _TEMPORARY.fullmatch(path.name) and path.is_file()]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What a full disk or a closed folder raises becomes a RunError that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise RunError(f"{path} cannot be written: {why}", hint="make room on the disk, or make the folder writable") from None


def fsync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def cache_folder() -> Path:
    """Where what was fetched or unpacked is kept: $ALLMLP_CACHE, else ~/.cache/allmlp. It may be deleted at any time."""
    given = os.environ.get("ALLMLP_CACHE")
    return Path(given) if given else users_own("~/.cache") / "allmlp"


def users_own(path: str) -> Path:
    """A path that begins with ~. Raises RunError where nobody knows the user's home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        hint = "set HOME, or ALLMLP_HOME and ALLMLP_CACHE, to folders that can be written"
        raise RunError(f"{path} is nowhere: this user has no home folder", hint=hint) from None
