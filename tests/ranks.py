"""Processes for tests: forked from one that has torch loaded already, with the variables torchrun would set."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

PATIENCE = 240.0
"""Seconds until a process counts as stuck; two of them need three alone."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int | None
    value: Any = None
    error: BaseException | None = None


@dataclass(frozen=True)
class At:
    """A signal that process `rank` sends itself when it has done `step` steps."""

    step: int
    rank: int = 0
    number: int = signal.SIGTERM


class Running:
    """Processes that call a function, until they are waited for."""

    def __init__(self, name: str, processes: list[tuple[BaseProcess, Connection]]) -> None:
        self.name, self.processes = name, processes

    def pid(self, rank: int = 0) -> int:
        number = self.processes[rank][0].pid
        assert number is not None
        return number

    def send(self, number: int, rank: int = 0) -> bool:
        """A signal; False where the process has ended already."""
        if self.processes[rank][0].exitcode is not None:
            return False
        os.kill(self.pid(rank), number)
        return True

    @property
    def alive(self) -> bool:
        return any(process.is_alive() for process, _ in self.processes)

    def ended(self, rank: int) -> Ended:
        """Wait for one of them."""
        process, pipe = self.processes[rank]
        process.join(PATIENCE)
        if process.is_alive():
            for stuck, _ in self.processes:
                stuck.kill()
            raise TimeoutError(f"{self.name} is stuck")
        try:
            value, error = pipe.recv() if pipe.poll() else (None, None)  # a child of its own may hold the other end
        except EOFError:
            value, error = None, None
        return Ended(process.exitcode, value, error)

    def all_ended(self) -> list[Ended]:
        return [self.ended(rank) for rank in range(len(self.processes))]


def in_processes(size: int, action: Callable[..., Any], *arguments: Any, at: At | None = None, **more: Any) -> list[Ended]:
    """Call `action` in `size` processes at once, as torchrun would; 1 stands for a process without any team."""
    return started(size, action, *arguments, at=at, **more).all_ended()


def started(size: int, action: Callable[..., Any], *arguments: Any, at: At | None = None, **more: Any) -> Running:
    """The same, and go on beside them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["allmlp.training.main", "allmlp.evaluation.classification"])
    port, processes = free_port(), []
    for rank in range(size):
        here, there = context.Pipe()
        inner = (rank, size, port, there, at, action, arguments, more)
        process = context.Process(target=_process, args=inner)
        process.start()
        there.close()
        processes.append((process, here))
    return Running(action.__name__, processes)


def values(ended: list[Ended]) -> list[Any]:
    """What each gave; an error of any is raised here."""
    for one in ended:
        if one.error is not None:
            raise one.error
    assert all(one.status == 0 for one in ended), ended
    return [one.value for one in ended]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _process(
    rank: int,
    size: int,
    port: int,
    pipe: Connection,
    at: At | None,
    action: Callable[..., Any],
    arguments: tuple[Any, ...],
    more: dict[str, Any],
) -> None:
    import torch

    from allmlp.training.display import Display

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # for loaders, as in a process that was started by hand
    if size > 1:
        team = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
        os.environ.update({key: str(value) for key, value in team.items()}, MASTER_ADDR="127.0.0.1")
    if at is not None and at.rank == rank:
        _signal_at(Display, at)
    try:
        pipe.send((action(*arguments, **more), None))
    except BaseException as error:
        pipe.send((None, error))


def _signal_at(display: Any, at: At) -> None:
    plain, count = display.step, 0

    def step(self: Any, **shown: object) -> None:
        nonlocal count
        count += 1
        if count == at.step:
            os.kill(os.getpid(), at.number)
        plain(self, **shown)

    display.step = step
