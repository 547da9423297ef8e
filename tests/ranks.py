"""Processes for tests: forked from one that has torch loaded already, with the variables torchrun would set."""

import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
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


def in_processes(size: int, action: Callable[..., Any], *arguments: Any, at: At | None = None, **more: Any) -> list[Ended]:
    """Call `action` in `size` processes at once, as torchrun would; 1 stands for a process without any team."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["allmlp.training.main", "allmlp.evaluation.classification"])
    started = []
    for rank in range(size):
        here, there = context.Pipe()
        inner = (rank, size, _free_port() if not started else started[0][2], there, at, action, arguments, more)
        process = context.Process(target=_process, args=inner)
        process.start()
        there.close()
        started.append((process, here, inner[2]))
    ended = []
    for process, here, _ in started:
        process.join(PATIENCE)
        if process.is_alive():
            for stuck, _, _ in started:
                stuck.kill()
            raise TimeoutError(f"{action.__name__} is stuck")
        try:
            value, error = here.recv()
        except EOFError:
            value, error = None, None
        ended.append(Ended(process.exitcode, value, error))
    return ended


def values(ended: list[Ended]) -> list[Any]:
    """What each gave; an error of any is raised here."""
    for one in ended:
        if one.error is not None:
            raise one.error
    assert all(one.status == 0 for one in ended), ended
    return [one.value for one in ended]


def _free_port() -> int:
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
