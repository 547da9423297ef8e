"""A disk that is full at any write: one clear error, every file whole, and the same end once there is room again."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from disturbing import Make, goes_on_to, learn
from PIL import Image
from safetensors.torch import load_file
from scorecard import Card, Fault

import allmlp
from allmlp.cli import main
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json
from allmlp.training.checkpoint import newest_first
from ranks import Ended, in_processes, values

FAULT = Fault(
    20,
    "Full disk",
    "at every write a clear error, no half-written file under its final name, files from before intact, the same weights later",
)
SIZE = 48 * 2**20
"""Bytes of the disk: a checkpoint asks for 16 MB more than it needs."""
SPARED = (0, 4096, 16384)
"""Bytes that are left free by turns, so that some writes get a part of the way."""

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def filling(disk: Path, at: int, spared: int, said: Path, action: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    """(what the action gave, how many files and folders it began to write on the disk), which is filled at number `at`, from 1.

    What the action says goes into the file `said`.
    """
    with said.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    count, busy = 0, False

    def hook(event: str, told: tuple[Any, ...]) -> None:
        nonlocal count, busy
        if busy or event not in ("open", "os.mkdir"):
            return
        writes = event != "open" or bool(told[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if not writes or not str(told[0]).startswith(str(disk)):
            return
        count += 1
        if count == at:
            busy = True
            fill(disk, spared)
            busy = False

    sys.addaudithook(hook)
    return action(*arguments), count


def fill(disk: Path, spared: int) -> None:
    """Leave so many bytes."""
    status = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - spared)


def said_once(text: str) -> bool:
    return [line[:7] for line in text.splitlines()].count("error: ") == 1


def refused(ended: Ended, said: Path) -> bool:
    """Whether a command ended with status 2 and one message; else what was left to write found room, and its status is 0."""
    assert ended.status == 0, ended
    if ended.error is not None:
        raise ended.error
    text = said.read_text()
    assert "Traceback" not in text, text
    assert "Exception" not in text, text
    assert ended.value[0] in (0, 2), text
    assert ended.value[0] == 0 or (said_once(text) and "hint:" in text), text
    return bool(ended.value[0])


def assert_whole(folder: Path) -> None:
    """Whatever has its final name can be read to its end."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        if path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".toml":
            tomllib.loads(path.read_text())
        elif path.suffix == ".png":
            Image.open(path).load()
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path


def hashes(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def train_command(data: Path, recipe: Path, out: Path) -> list[str]:
    return ["train", str(data), "--recipe", str(recipe), "--out", str(out), "--resume", "auto", "--quiet"]


def test_at_every_write_of_training(disk: Path, stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    recipe = small_recipe(train={"epochs": 2, "ema": 0.9, "save_steps": 3, "log_every": 2})
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    whole, said = Run(tmp_path / "whole"), tmp_path / "said"
    assert learn(stripes, recipe, whole.folder) == "finished"
    out = disk / "run"
    command = train_command(stripes, tmp_path / "recipe.toml", out)
    ((status, writes),) = values(in_processes(1, filling, disk, 0, 0, said, main, command))
    assert status == 0, said.read_text()
    step = max(1, writes // card.times(writes, quick=3))
    seen, begun, fitted = 0, 0, 0
    for at in range(1 + step // 2, writes + 1, step):
        shutil.rmtree(out, ignore_errors=True)
        (ended,) = in_processes(1, filling, disk, at, SPARED[at % len(SPARED)], said, main, command)
        seen += refused(ended, said)
        fitted += ended.value[0] == 0
        assert_whole(out)
        kept = newest_first(Run(out)) if out.is_dir() else []
        begun += bool(kept)
        (disk / "filler").unlink()
        if kept and read_json(Run(out).state).get("state") != "finished":
            assert goes_on_to(whole, 1, stripes, recipe, out), at
    shutil.rmtree(out, ignore_errors=True)
    card.seen(
        f"allmlp train, whose run makes {writes} files and folders, evaluation and report among them: no room from each on",
        seen + fitted,
        f"{seen} times status 2 and one message, {fitted} times room; every file whole; {begun} had a checkpoint, "
        "and what was in training ended with the same bits",
    )


def later_commands(run: Path, pictures: Path) -> dict[str, tuple[list[str], Path]]:
    """Words, and the folder they write into, which may not be there yet."""
    commands = {
        "evaluate": (["evaluate", str(run), "--json"], run),
        "report": (["report", str(run)], run),
        "export": (["export", str(run), "--format", "safetensors"], run / "exports"),
    }
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return commands
    rows = run.parent / "rows.parquet"
    return commands | {"predict --out": (["predict", str(run), str(pictures), "--out", str(rows), "--engine", "eager"], rows)}


@pytest.fixture(scope="module")
def finished(stripes: Path, small_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("finished") / "run"
    return allmlp.train(stripes, recipe=small_recipe(train={"epochs": 1}), out=out, quiet=True)


@pytest.mark.parametrize("name", ["evaluate", "report", "export", "predict --out"])
def test_at_every_write_of_what_comes_later(
    name: str, disk: Path, finished: Run, stripes: Path, tmp_path: Path, card: Card
) -> None:
    said, run = tmp_path / "said", disk / "run"
    shutil.copytree(finished.folder, run)
    commands = later_commands(run, stripes / "across")
    if name not in commands:
        pytest.skip("extra parquet")
    command, target = commands[name]
    before = hashes(run)
    ((status, writes),) = values(in_processes(1, filling, disk, 0, 0, said, main, command))
    assert status == 0, said.read_text()
    for at in list(range(1, writes + 1))[: card.times(writes, quick=1)]:
        shutil.rmtree(run)
        shutil.copytree(finished.folder, run)
        if target != run:
            for left in (target, target.with_name(target.name + ".parts")):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        (ended,) = in_processes(1, filling, disk, at, SPARED[at % 2], said, main, command)
        stopped = refused(ended, said)
        (disk / "filler").unlink()
        assert_whole(disk)
        assert before.items() <= hashes(run).items(), at
        assert not stopped or target == run or not (target.is_file() or any(target.glob("[!.]*")))
    (ended,) = in_processes(1, filling, disk, 0, 0, said, main, command)
    assert ended.value[0] == 0, said.read_text()
    card.seen(
        f"allmlp {name}, at each of its {writes} writes", writes, "status 2 and one message; nothing new, nothing changed"
    )


def test_a_folder_that_is_read_only(disk: Path, finished: Run, stripes: Path, tmp_path: Path, card: Card) -> None:
    said, run = tmp_path / "said", disk / "run"
    shutil.copytree(finished.folder, run)
    (tmp_path / "recipe.toml").write_text(run.joinpath("recipe.toml").read_text())
    commands = {name: words for name, (words, _) in later_commands(run, stripes / "across").items()}
    commands["train"] = train_command(stripes, tmp_path / "recipe.toml", disk / "new")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    chosen = list(commands.items())[: card.times(len(commands), quick=2)]
    for name, words in chosen:
        (ended,) = in_processes(1, filling, disk, 0, 0, said, main, words)
        assert refused(ended, said), name
        assert "Read-only file system" in said.read_text(), name
    names = ", ".join(name for name, _ in chosen)
    card.seen(f"{names} on a file system that is read-only, for root too", len(chosen), "status 2 and one message")
