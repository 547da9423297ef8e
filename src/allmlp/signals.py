"""The signals that end a training run in good order, and what they do while there is nothing to save."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(name for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Those of a person and of a scheduler."""


_heard: list[str] = []
"""Names of signals for which Leave was raised in the `leaving` block that runs."""


class Leave(BaseException):
    """A signal came before there was anything to save, or after all was. No Exception: nobody shall go on after it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@contextmanager
def leaving(*, for_good: bool) -> Iterator[None]:
    """While the block runs, a scheduler's signals raise Leave wherever it is, unless something inside answers them itself.

    for_good: the process ends with the block, and its last moments are not disturbed either.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in SIGNALS if name != "SIGINT"]
    before = {number: signal.signal(number, _leave) for number in numbers}
    try:
        yield
    except BaseException as error:
        left = left_by(error)
        if left is None or left is error:
            raise
        raise left from None  # in the middle of a lock, say, which then complains of what it finds
    finally:
        _heard.clear()
        for number in numbers:
            signal.signal(number, signal.SIG_IGN if for_good else before[number])


def left_by(error: BaseException | None) -> Leave | None:
    """The Leave that this error is, or came of."""
    while error is not None and not isinstance(error, Leave):
        error = error.__context__
    return error


def leave_if_asked(name: str | None) -> None:
    """Raises Leave for a signal that something inside a `leaving` block had answered, and that was nevertheless too late, or
    too early, to stop what it was answering for. Outside of such a block, nothing."""
    if name is not None and signal.getsignal(signal.Signals[name]) is _leave:
        raise Leave(name)


def missed() -> str | None:
    """A signal whose Leave got lost: what is raised in a destructor, Python prints and forgets."""
    return _heard[0] if _heard else None


def _leave(number: int, frame: FrameType | None) -> None:
    _heard.append(signal.Signals(number).name)
    raise Leave(_heard[-1])
