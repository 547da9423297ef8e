"""Ctrl-C, and a scheduler's SIGTERM or SIGUSR1: finish the step, save, say how to go on."""

import signal
import threading
import time
from types import FrameType, TracebackType

from allmlp.signals import SIGNALS, missed

TWICE = 2.0
"""Seconds before a second Ctrl-C counts: torchrun passes on to its processes what the terminal has sent them already."""


class Interrupt:
    """While the block runs, the first signal sets `signal`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for name in SIGNALS:
                number = getattr(signal, name)
                self._before[number] = signal.signal(number, self._caught)
            late = missed()
            self.signal = self.signal or (signal.Signals[late] if late else None)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    @property
    def caught(self) -> bool:
        """Whether a signal has arrived in this process."""
        return self.signal is not None

    def _caught(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._at = signal.Signals(number), now
        elif self.signal is signal.SIGINT and number == signal.SIGINT and now - self._at > TWICE:
            raise KeyboardInterrupt
