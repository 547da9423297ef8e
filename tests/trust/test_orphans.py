"""The parent of each kind of process that allmlp starts is killed, and all of them are gone."""

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from scorecard import Card, Fault

FAULT = Fault(230, "A parent killed", "no process that allmlp started is left over, stopped ones included")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no list of processes in /proc"),
]

MARK = "ALLMLP_TEST_ORPHANS"
PATIENCE = 240.0
"""Seconds until a test gives up; nothing is asserted about speed."""

LOADS = """
import multiprocessing, sys, time
import allmlp

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    allmlp.{verb}(sys.argv[1], quiet=True, model="resmlp", hyper=dict(dim=16, depth=1, patch_size=16),
        **{{"data.workers": 2, "data.img_size": (80, 80), "train.epochs": 1000, "train.batch": 4, "train.precision": "fp32"}})
"""
COMPILES = """
import time
from torch._inductor.async_compile import AsyncCompile

if __name__ == "__main__":
    pool = AsyncCompile.process_pool()
    pool.submit(int, "1").result()
    time.sleep(3600)
"""


def state_of(process: int) -> str | None:
    """R, S, T …; None for one that is gone, or that nobody has asked for yet."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None
    return None if state in "ZX" else state


def marked(mark: str) -> set[int]:
    """Every process whose environment has the mark, whoever its parent is now."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            own = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if own and state_of(int(folder.name)):
            found.add(int(folder.name))
    return found


def until(ready: Callable[[], bool]) -> bool:
    ends = time.monotonic() + PATIENCE
    while not ready() and time.monotonic() < ends:
        time.sleep(0.05)
    return ready()


def left_over(command: list[str], folder: Path, number: int, *, children: int, stop: bool = False, said: str = "") -> set[int]:
    """Start it, wait for so many children, send its first process a signal. Returns which of them stay.

    said: what it prints before. stop: all but the first are stopped before, as by a debugger, and can do nothing themselves.
    """
    mark = uuid.uuid4().hex
    errors = folder / "stderr.txt"
    with (
        errors.open("w") as log,
        subprocess.Popen(
            [sys.executable, *command], cwd=folder, env={**os.environ, MARK: mark}, stdout=log, stderr=log
        ) as parent,
    ):
        try:
            assert until(lambda: parent.poll() is not None or (len(marked(mark)) > children and said in errors.read_text())), (
                "its children never came"
            )
            assert parent.poll() is None, errors.read_text()
            if stop:
                for child in marked(mark) - {parent.pid}:
                    os.kill(child, signal.SIGSTOP)
            parent.send_signal(number)
            parent.wait(PATIENCE)
            until(lambda: not marked(mark))
            return marked(mark)
        finally:
            for process in marked(mark):
                os.kill(process, signal.SIGKILL)


@pytest.mark.parametrize(("method", "children"), [("fork", 2), ("spawn", 3), ("forkserver", 4)])
def test_processes_that_prepare_images(method: str, children: int, stripes: Path, tmp_path: Path, card: Card) -> None:
    """Besides the two themselves: Python's tracker of resources, and the fork server."""
    (tmp_path / "mine.py").write_text(LOADS.format(verb="train"))
    times = card.times(3, quick=1)
    for _ in range(times):
        assert left_over(["mine.py", str(stripes), method], tmp_path, signal.SIGKILL, children=children) == set()
    card.seen(f"training with two processes that prepare images ({method}), kill -9", times, f"{times} of {times} left nothing")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped process cannot look")
def test_stopped_ones_and_those_of_pretraining(stripes: Path, tmp_path: Path, card: Card) -> None:
    (tmp_path / "mine.py").write_text(LOADS.format(verb="pretrain"))
    times = card.times(3, quick=1)
    for _ in range(times):
        assert left_over(["mine.py", str(stripes), "fork"], tmp_path, signal.SIGKILL, children=2, stop=True) == set()
    card.seen("pretraining, its two processes stopped first, kill -9", times, f"{times} of {times} left nothing")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_the_trials_of_find_batch(name: str, tmp_path: Path, card: Card) -> None:
    words = ["-m", "allmlp", "find-batch", "--classes", "2", "--model", "resmlp_xs", "--seconds", "3600", "--minutes", "60"]
    times = card.times(3, quick=1)
    for _ in range(times):
        assert left_over(words, tmp_path, getattr(signal, name), children=1) == set()
    card.seen(f"find-batch in a trial, {name}", times, f"{times} of {times} left nothing")


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_those_of_torch_compile(tmp_path: Path, card: Card) -> None:
    """torch's own business, on which train.compile and the engine "compile" rely."""
    (tmp_path / "mine.py").write_text(COMPILES)
    assert left_over(["mine.py"], tmp_path, signal.SIGKILL, children=1) == set()
    card.seen("torch.compile's processes, kill -9", 1, "1 of 1 left nothing")


def test_the_server_has_none(five_classes: Path, tmp_path: Path, card: Card) -> None:
    words = ["-m", "allmlp", "serve", str(five_classes), "--port", "0"]
    assert left_over(words, tmp_path, signal.SIGKILL, children=0, said="http://") == set()
    card.seen("allmlp serve, kill -9", 1, "1 of 1 left nothing")
