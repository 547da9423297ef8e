"""One process trains into a run folder; another one is told which, and nothing is left of the lock when a process is gone."""

import errno
import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from platform import node

import pytest

import allmlp
from allmlp.errors import RunError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json
from allmlp.training import claim
from allmlp.training.claim import Claim, new_folder
from helpers import interrupt_after
from ranks import in_processes, started, values

Make = Callable[..., Recipe]


def held_until(folder: Path, ready: Path, end: Path, *, fork: bool = False) -> None:
    """Hold a folder until a file appears. fork: with a child that outlives its parent, as a busy data worker may."""
    with Claim() as lock:
        lock.create(folder)
        if fork and not os.fork():
            (ready.parent / "child").write_text(str(os.getpid()))
            time.sleep(600)
            os._exit(0)
        ready.touch()
        while not end.exists():
            time.sleep(0.01)


def wait_for(path: Path) -> None:
    ends = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_the_second_process_is_refused_with_the_holders_pid_and_host(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    running = started(1, held_until, tmp_path / "run", tmp_path / "ready", tmp_path / "end")
    wait_for(tmp_path / "ready")
    who = rf"run is being trained by process {running.pid()} on {node()}, since \d{{4}}-"
    for again in ("never", "auto"):
        with pytest.raises(RunError, match=who):
            allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", resume=again, quiet=True)  # type: ignore[arg-type]
    (tmp_path / "end").touch()
    assert values(running.all_ended()) == [None]
    assert not list((tmp_path / "run").iterdir())
    allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1}), out=tmp_path / "run", quiet=True)


def test_a_run_that_is_trained_is_not_resumed_but_read(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        run = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    before = {path.name: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    with Claim() as lock:
        lock.take(run.folder)
        (ended,) = in_processes(1, allmlp.resume, run.folder, quiet=True)
        assert isinstance(ended.error, RunError)
        assert f"process {os.getpid()} on {node()}" in ended.error.what
        assert "--out" in ended.error.hint
        (ended,) = in_processes(1, allmlp.evaluate, run.folder, quiet=True)
        assert ended.error is None
    changed = {path.name for path in run.folder.iterdir() if before.get(path.name) != path.stat().st_mtime_ns}
    assert changed == {"evaluation"}
    assert read_json(allmlp.resume(run.folder, quiet=True).state)["state"] == "finished"
    assert not run.lock.exists()


def test_a_killed_holder_holds_nothing_though_its_child_lives(tmp_path: Path) -> None:
    running = started(1, held_until, tmp_path / "run", tmp_path / "ready", tmp_path / "end", fork=True)
    wait_for(tmp_path / "ready")
    wait_for(tmp_path / "child")
    running.send(signal.SIGKILL)
    running.all_ended()
    child = int((tmp_path / "child").read_text())
    try:
        os.kill(child, 0)  # it is there
        assert (tmp_path / "run" / "training.lock").is_file()
        with Claim() as lock:
            lock.create(tmp_path / "run")  # with what the dead one left behind it is still a new folder
            assert json.loads((tmp_path / "run" / "training.lock").read_text())["pid"] == os.getpid()
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_second_thread_is_refused_and_the_same_one_may_nest(tmp_path: Path) -> None:
    found: list[str] = []

    def other() -> None:
        with pytest.raises(RunError) as error, Claim() as lock:
            lock.take(tmp_path)
        found.append(error.value.what)

    with Claim() as outer:
        outer.take(tmp_path)
        with Claim() as inner:
            inner.take(tmp_path)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert Run(tmp_path).lock.is_file()
    assert f"process {os.getpid()}" in found[0]
    assert not Run(tmp_path).lock.exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_where_there_are_no_locks_one_line_says_so_and_the_run_goes_on(
    number: int, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    run = allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1}), out=tmp_path / "run", quiet=True)
    assert run.log.read_text().count("has no locks") == 1
    assert read_json(run.state)["state"] == "finished"
    assert not run.lock.exists()


def test_a_lock_file_that_cannot_be_read_still_refuses(tmp_path: Path) -> None:
    with Claim() as lock:
        lock.take(tmp_path)
        Run(tmp_path).lock.write_bytes(b"\xff{")
        claim._held().clear()  # as another thread has it
        with pytest.raises(RunError, match="is being trained by another process"):
            Claim().take(tmp_path)


def test_a_folder_that_is_no_run_gets_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"), Claim() as lock:
        lock.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def make(folder: Path, count: int) -> list[str]:
    os.chdir(folder)
    return [str(new_folder("model-data-20260101-000000")) for _ in range(count)]


def test_starts_in_one_second_get_names_of_their_own(tmp_path: Path) -> None:
    found = [name for names in values(in_processes(3, make, tmp_path, 4)) for name in names]
    usual = "runs/model-data-20260101-000000"
    assert sorted(found, key=lambda name: (len(name), name)) == [usual, *(f"{usual}-{number}" for number in range(2, 13))]


def test_two_runs_without_a_folder_are_two(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    runs = [allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1}), quiet=True).folder for _ in range(2)]
    assert [run.name for run in runs] == ["resmlp-" + stripes.name + "-20260101-000000" + end for end in ("", "-2")]
