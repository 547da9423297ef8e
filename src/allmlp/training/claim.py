"""A run folder belongs to one training at a time: a name that nobody else has, and a lock while it is written.

The lock is the kernel's (flock), so that it goes with its process, however that ends. Linux sends it to the server where the
folder lies on NFS. Children let go of it at once: a process that prepares images may outlive a killed parent for a moment.
"""

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from platform import node
from types import TracebackType
from typing import Any, Self

from allmlp.errors import RunError
from allmlp.files import writing
from allmlp.run import Run
from allmlp.strict_json import to_json

if sys.platform != "win32":
    import fcntl

NOT_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""How file systems say that they have no locks."""
TRIES, PAUSE = 5, 0.05
"""Looks at a lock that somebody has, and the seconds between two: its holder may be about to leave."""
MOST = 10_000
"""Bytes that are read of what a holder says of itself."""

_mine = threading.local()
"""The folders that this thread holds: what `shrink` holds, the training inside it need not take again."""
_open: set[int] = set()
"""File descriptors of all locks of this process."""


class Claim:
    """The lock of one run folder, from `take` to the end of the `with` block."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.handle: int | None = None
        self.process = os.getpid()
        self.unlocked: str | None = None
        """What to tell the user where the folder's file system has no locks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.path is None or self.process != os.getpid():
            return
        _held().discard(self.path.parent)
        if self.handle is not None:
            with suppress(OSError):  # a folder that was taken away takes its lock with it
                if _same(self.path, self.handle):
                    self.path.unlink()
            _open.discard(self.handle)
            with suppress(OSError):
                os.close(self.handle)
        self.path = self.handle = None

    def create(self, folder: str | os.PathLike[str], *, over: bool = False) -> Run:
        """A new run folder (see `Run.create`), held. Raises RunError, also where another process trains there."""
        path = Path(folder)
        if not over or not path.exists():
            try:
                Run.create(path)  # what is no run gets no lock file either
            except RunError:
                if Run(path).lock.is_file():
                    self.take(path)  # who trains there is more to know than that it is not empty
                raise
        self.take(path)
        return Run.create(path, over=over)

    def take(self, folder: str | os.PathLike[str]) -> None:
        """Hold an existing folder. Raises RunError that names the process and its machine where another one does."""
        path = Run(Path(folder).resolve()).lock
        if path.parent in _held():
            return
        with writing(path):
            while True:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
                try:
                    if not self._locked(handle, path):
                        os.close(handle)
                        return
                    if _same(path, handle):  # and not one that its holder took away as it ended
                        break
                except BaseException:
                    os.close(handle)
                    raise
                os.close(handle)
            _open.add(handle)
            self.path, self.handle = path, handle
            _held().add(path.parent)
            os.ftruncate(handle, 0)
            os.write(handle, to_json(_myself()).encode())

    def _locked(self, handle: int, path: Path) -> bool:
        """False where there are no locks. Raises RunError where another process has this one."""
        if sys.platform == "win32":
            self.unlocked = "Windows has no flock: nothing keeps a second process from training in this folder"
            return False
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in NOT_HERE:
                    self.unlocked = (
                        f"the file system of {path.parent} has no locks ({error.strerror}): "
                        "nothing keeps a second process from training there"
                    )
                    with suppress(OSError):
                        path.unlink()
                    return False
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                if not left:
                    raise _in_use(path, _told(handle)) from None
                time.sleep(PAUSE)
            else:
                break
        return True

    def say(self, tell: Callable[[str, str], object]) -> None:
        """Tell, in yellow, that nothing is locked, where that is so."""
        if self.unlocked is not None:
            tell(self.unlocked, "yellow")


def new_folder(name: str) -> Path:
    """runs/NAME, made here and now; with -2, -3 … behind it where somebody was faster. Raises RunError."""
    parent, number = Path("runs"), 1
    with writing(parent):
        parent.mkdir(exist_ok=True)
        while True:
            path = parent / (name if number == 1 else f"{name}-{number}")
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
            else:
                return path


def _myself() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": node(), "started": datetime.now(UTC).isoformat(timespec="seconds")}


def _told(handle: int) -> dict[str, Any]:
    """What the holder says of itself; nothing where it is just about to."""
    try:
        found = json.loads(os.pread(handle, MOST, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _in_use(path: Path, holder: dict[str, Any]) -> RunError:
    who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"
    since = f", since {holder['started']}" if "started" in holder else ""
    return RunError(
        f"{path.parent} is being trained by {who}{since}",
        hint=f"wait for its end, or end it; for a run beside it, choose another --out. If that machine is lost, remove {path}",
    )


def _same(path: Path, handle: int) -> bool:
    """Whether the path still leads to the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except OSError:
        return False


def _held() -> set[Path]:
    """Of this thread."""
    if not hasattr(_mine, "folders"):
        _mine.folders = set()
    folders: set[Path] = _mine.folders
    return folders


def _let_go() -> None:
    """In a forked child: close what was inherited, which leaves the parent's lock as it is."""
    for handle in _open:
        with suppress(OSError):
            os.close(handle)
    _open.clear()
    _held().clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
