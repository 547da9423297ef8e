"""What SIGTERM and SIGHUP do where no server listens to them: before it does, and when it has ended."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

OURS = (signal.SIGTERM, signal.SIGHUP)
LATEST = 5.0
"""Seconds after which it leaves without tidying up."""


@contextmanager
def endable() -> Iterator[None]:
    """In here SIGTERM leaves with 0, also process number 1 of a container, which has no default; SIGHUP is passed over."""

    def leave(number: int, frame: Any) -> None:
        told()
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))  # what is raised in a destructor, Python prints and forgets
        signal.setitimer(signal.ITIMER_REAL, LATEST)
        sys.exit(0)

    before = {number: signal.getsignal(number) for number in OURS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGTERM) is leave:
            for number, handler in before.items():
                signal.signal(number, handler)


def told() -> None:
    """Once is enough: while Python tidies up, the same signal is no reason to die of it."""
    for number in OURS:
        signal.signal(number, signal.SIG_IGN)
