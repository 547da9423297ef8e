"""Processes that prepare batches, any of which may be lost: killed for memory, or hung. What it was at is made again."""

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch
from torch.utils.data import DataLoader, Sampler

from allmlp.errors import DataError
from allmlp.orphans import end_with
from allmlp.signals import SIGNALS

TRIES = 3
"""Times in a row that workers may be lost before a batch is there."""
GRACE = 1.0
"""Seconds in which workers may leave that are no longer needed."""

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
    patience = 600.0
    """Seconds that a batch may take before its workers count as lost."""

    def __iter__(self) -> Iterator[Value]:  # type: ignore[override]  # a generator has all that a loop asks for
        if not self.num_workers:
            yield from super().__iter__()
            return
        done = lost = 0
        while True:
            workers: set[BaseProcess] = set()
            try:
                for batch in self._from(done, workers):
                    yield batch
                    done, lost = done + 1, 0
                return
            except (_Hung, RuntimeError, EOFError, ConnectionError) as error:
                of_pictures = "in DataLoader worker process" in str(error)  # as torch says where an error comes from
                if of_pictures or (isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error)):
                    raise
                lost += 1
                if lost > TRIES:
                    raise self._hopeless(error) from None
                how = "has hung" if isinstance(error, _Hung) else "was lost"
                self.tell(f"a process that prepares images {how}; all are started again at batch {done + 1}")
            finally:
                _end(workers)

    def _hopeless(self, error: Exception) -> DataError:
        if isinstance(error, _Hung):
            return DataError(
                f"processes that prepare images hang again and again: no batch in {self.patience:g} seconds",
                hint="look whether the disk answers; where a batch may rightly take longer, a larger --train.process-timeout",
            )
        return DataError(
            f"processes that prepare images are lost again and again: {error}",
            hint="where memory is short they are killed: use fewer --data.workers, or 0",
        )

    def _from(self, done: int, workers: set[BaseProcess]) -> Iterator[Value]:
        """Batches from number `done` on, by processes of their own, which are put into `workers`."""
        rest: DataLoader[Value] = DataLoader(
            self.dataset,
            batch_sampler=Rest(self.batch_sampler, done),  # type: ignore[arg-type]
            num_workers=self.num_workers,
            collate_fn=self.collate_fn,
            worker_init_fn=self.worker_init_fn,
        )
        others = multiprocessing.active_children()
        batches = _undisturbed(rest.__iter__)
        workers.update(set(multiprocessing.active_children()).difference(others))
        return self._patient(batches, workers)

    def _patient(self, batches: Iterator[Value], workers: Iterable[BaseProcess]) -> Iterator[Value]:
        """Raises _Hung for a batch that does not come. torch may then wait for one worker's answer without any limit; that
        all are killed ends the wait. An epoch that is left early does not wait for workers, either."""
        hung = threading.Event()

        def give_up() -> None:
            hung.set()
            _end(workers)

        while True:
            watch = threading.Timer(self.patience, give_up)
            watch.daemon = True
            watch.start()
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, EOFError, ConnectionError):
                if hung.is_set():
                    raise _Hung from None
                raise
            finally:
                watch.cancel()
            try:
                yield batch
            except GeneratorExit:
                hasten = threading.Timer(GRACE, _end, [workers])
                hasten.start()
                del batches  # torch tells its workers to leave, and waits ten seconds for each that does not
                hasten.cancel()
                raise


def _end(workers: Iterable[BaseProcess]) -> None:
    """One that is stopped heeds nothing else, and Python would wait for it when it leaves."""
    for worker in workers:
        worker.kill()


class _Hung(Exception):
    """No batch for too long."""


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
    main = multiprocessing.parent_process()
    if main is not None and main.pid is not None:
        served = multiprocessing.get_start_method() == "forkserver"
        end_with(0 if served else main.pid, main.join)
