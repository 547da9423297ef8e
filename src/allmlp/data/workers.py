"""Processes that prepare batches, any of which may be lost: killed for memory, or by hand. What it was at is made again."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Sampler

from allmlp.errors import DataError
from allmlp.signals import SIGNALS

TRIES = 3
"""Times in a row that workers may be lost before a batch is there."""

Value = TypeVar("Value", covariant=True)


class EpochOrder(Sampler[Any]):
    """The batches of epoch `epoch`, from number `start` on: all of a run's place in its data."""

    epoch = 0
    start = 0


class Rest(Sampler[Any]):
    """An order without its first batches."""

    def __init__(self, order: Sampler[Any], done: int) -> None:
        self.order, self.done = order, done

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.order), self.done, None)


class LastingLoader(DataLoader[Value]):
    """A loader whose workers, when one is lost, are all started again where it was: no batch is missing, none comes twice.

    That changes nothing in the batches, since each follows from its keys alone. Raises DataError when it does not help.
    """

    tell: Callable[[str], object] = staticmethod(lambda text: sys.stderr.write(f"allmlp: {text}\n"))
    """Hears of every loss."""

    def __iter__(self) -> Iterator[Value]:  # type: ignore[override]  # a generator has all that a loop asks for
        done = lost = 0
        while True:
            try:
                for batch in self._from(done):
                    yield batch
                    done, lost = done + 1, 0
                return
            except (RuntimeError, EOFError, ConnectionError) as error:
                if not self.num_workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
                    raise
                lost += 1
                if lost > TRIES:
                    raise DataError(
                        f"processes that prepare images are lost again and again: {error}",
                        mend="where memory is short they are killed: use fewer --data.workers, or 0",
                    ) from None
                self.tell(f"a process that prepares images was lost; all are started again at batch {done + 1}")

    def _from(self, done: int) -> Iterator[Value]:
        """Batches from number `done` on, by workers of their own."""
        if not done:
            return _undisturbed(super().__iter__)
        rest: DataLoader[Value] = DataLoader(
            self.dataset,
            batch_sampler=Rest(self.batch_sampler, done),  # type: ignore[arg-type]
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            worker_init_fn=self.worker_init_fn,
        )
        return _undisturbed(rest.__iter__)


def _undisturbed(begin: Callable[[], Iterator[Value]]) -> Iterator[Value]:
    """torch has a worker's death raised wherever the main thread happens to be, between two moves of a step, say. Without that
    it is raised where its batch is missed, five seconds later at most."""
    child = getattr(signal, "SIGCHLD", None)
    if child is None or threading.current_thread() is not threading.main_thread():
        return begin()
    before = signal.getsignal(child)
    try:
        return begin()
    finally:
        signal.signal(child, signal.SIG_DFL if before is None else before)


def worker_manners(_worker: int) -> None:
    """One thread each. Ctrl-C and a scheduler's signals reach them too, and are the main process's to answer: it still
    needs the next batch. They end when they are told to, and when the main process is gone."""
    torch.set_num_threads(1)
    for name in SIGNALS:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
