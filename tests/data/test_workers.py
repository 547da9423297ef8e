"""A process that prepares batches may be lost: none of them is missing, and none comes twice."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset

from allmlp.data.loader import Order
from allmlp.data.workers import LastingLoader, worker_manners
from allmlp.errors import DataError

pytestmark = pytest.mark.slow  # torch looks for lost processes every five seconds


class Numbers(Dataset[int]):
    """0 to 39, of which some send the process that reads them a signal, as often as there are files to take away."""

    def __init__(self, lives: Path, fatal: set[int], by: int) -> None:
        self.lives, self.fatal, self.by = lives, fatal, by

    def __getitem__(self, key: tuple[int, int]) -> int:  # type: ignore[override]
        number = key[1]
        left = sorted(self.lives.glob(f"{number}-*"))
        if number in self.fatal and left:
            left[0].unlink()
            os.kill(os.getpid(), self.by)
        return number


def loader(lives: Path, deaths: dict[int, int], by: int = signal.SIGKILL) -> LastingLoader[list[int]]:
    for number, count in deaths.items():
        for life in range(count):
            (lives / f"{number}-{life}").touch()
    order = Order(40, 4, seed=None, drop_last=False)
    numbers: Dataset[list[int]] = Numbers(lives, set(deaths), by)  # type: ignore[assignment]
    return LastingLoader(numbers, batch_sampler=order, num_workers=2, collate_fn=list, worker_init_fn=worker_manners)


def all_end() -> bool:
    """Whether no process is left over."""
    for worker in multiprocessing.active_children():
        worker.join(5)
    return not multiprocessing.active_children()


def test_a_lost_worker_costs_no_batch(tmp_path: Path) -> None:
    batches, said = loader(tmp_path, {0: 1, 17: 1}), []
    batches.tell = said.append
    assert list(batches) == [list(range(i, i + 4)) for i in range(0, 40, 4)]
    first, second = (int(line.split("at batch ")[-1]) for line in said)
    assert first == 1
    assert 2 <= second <= 5  # 17 is in the fifth, asked for when the first has come; what lies between may be lost on the way


def test_a_worker_that_hangs_costs_no_batch(tmp_path: Path) -> None:
    batches, said = loader(tmp_path, {17: 1}, by=signal.SIGSTOP), []
    batches.tell, batches.patience = said.append, 10.0
    assert list(batches) == [list(range(i, i + 4)) for i in range(0, 40, 4)]
    (line,) = said
    assert line.startswith("a process that prepares images has hung; all are started again at batch ")
    assert all_end()


def test_what_hangs_every_worker_is_an_error(tmp_path: Path) -> None:
    batches = loader(tmp_path, {1: 100}, by=signal.SIGSTOP)
    batches.tell, batches.patience = lambda _: None, 1.0
    with pytest.raises(DataError, match="hang again and again: no batch in 1 seconds") as error:
        next(iter(batches))
    assert "--train.process-timeout" in error.value.hint
    assert all_end()


def test_what_kills_every_worker_is_an_error(tmp_path: Path) -> None:
    batches = loader(tmp_path, {5: 100})
    batches.tell = lambda _: None
    read = iter(batches)
    assert next(read) == [0, 1, 2, 3]
    with pytest.raises(DataError, match="lost again and again") as error:
        next(read)
    assert "--data.workers" in error.value.hint


class Tensors(Dataset[torch.Tensor]):
    """Such as are handed over by file descriptors, for which the reader asks the worker that made them."""

    def __getitem__(self, key: tuple[int, int]) -> torch.Tensor:  # type: ignore[override]
        return torch.tensor(key[1])


def test_workers_that_stop_with_their_batches_ready_cost_none(tmp_path: Path) -> None:
    order = Order(40, 4, seed=None, drop_last=False)
    batches: LastingLoader[torch.Tensor] = LastingLoader(
        Tensors(), batch_sampler=order, num_workers=2, worker_init_fn=worker_manners
    )
    said: list[str] = []
    batches.tell, batches.patience = said.append, 10.0
    read = iter(batches)
    found = [next(read)]
    time.sleep(1)  # the next ones lie ready
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, signal.SIGSTOP)
    found += list(read)
    assert torch.equal(torch.cat(found), torch.arange(40))
    (line,) = said
    assert "has hung; all are started again" in line
    assert all_end()


class Broken(Dataset[int]):
    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def __getitem__(self, key: tuple[int, int]) -> int:  # type: ignore[override]
        raise self.error("this picture is at fault")


@pytest.mark.parametrize("kind", [RuntimeError, EOFError, ConnectionResetError])
def test_an_error_in_a_worker_is_no_loss_of_it(kind: type[Exception]) -> None:
    order = Order(4, 4, seed=None, drop_last=False)
    batches: LastingLoader[int] = LastingLoader(Broken(kind), batch_sampler=order, num_workers=1, worker_init_fn=worker_manners)
    said: list[str] = []
    batches.tell = said.append
    with pytest.raises(kind, match="this picture is at fault"):
        next(iter(batches))
    assert not said


def test_an_epoch_that_is_left_leaves_no_process(tmp_path: Path) -> None:
    read = iter(loader(tmp_path, {}))
    next(read)
    for worker in multiprocessing.active_children():
        os.kill(worker.pid or 0, signal.SIGSTOP)
    began = time.monotonic()
    del read
    assert time.monotonic() - began < 10  # torch alone waits twenty seconds for two of them
    assert all_end()


PREPARES = """
import os, sys, time
from torch.utils.data import DataLoader
from allmlp.data.workers import worker_manners

def manners(worker):
    worker_manners(worker)
    print(os.getpid(), flush=True)
    time.sleep(1)  # torch's worker has not asked yet who its parent is

batches = iter(DataLoader(range(9), num_workers=2, worker_init_fn=manners))
sys.stdin.read()
"""


def goes_on(process: int) -> bool:
    """Whether it is there, and no zombie that nobody has asked for yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no list of processes in /proc")
def test_workers_whose_main_process_is_killed_while_they_start_leave_too() -> None:
    with subprocess.Popen([sys.executable, "-c", PREPARES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as main:
        assert main.stdout is not None
        workers = [int(main.stdout.readline()) for _ in range(2)]
        assert all(map(goes_on, workers))
        main.kill()
    ends = time.monotonic() + 20
    while any(map(goes_on, workers)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(map(goes_on, workers))
