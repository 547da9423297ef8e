"""torchrun itself: a process that dies is started again, and a signal stops all of them in good order."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines

pytestmark = pytest.mark.slow

EPOCHS = 16
TRAINING = {"ema": 0.9, "epochs": EPOCHS, "save_steps": 3, "log_every": 1}
"""64 steps: time enough to disturb them."""


class Launch:
    """`torchrun … -m allmlp train …`, as a user would."""

    def __init__(self, data: Path, recipe: Path, out: Path, *, options: Sequence[str] = (), words: Sequence[str] = ()) -> None:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", *options, "-m", "allmlp"]
        command = [*launcher, "train", str(data), "--recipe", str(recipe), "--out", str(out), "--quiet", *words]
        self.run = Run(out)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ends(self) -> tuple[int, str]:
        """(status, what it said)"""
        said, _ = self.process.communicate(timeout=1800)
        return self.process.returncode, said

    def at_step(self, count: int) -> "Launch":
        """Wait until the run has logged so many steps."""
        for _ in range(4000):
            if len(read_lines(self.run.steps)) >= count:
                return self
            time.sleep(0.05)
        raise TimeoutError(self.ends())

    def rank(self, number: int) -> int:
        """The process id of a rank."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if parent == self.process.pid and b"RANK=%d" % number in variables:
                return int(folder.name)
        raise LookupError(number)


@pytest.fixture(params=["ddp", "fsdp"])
def recipe(request: pytest.FixtureRequest, tmp_path: Path, small_recipe: Callable[..., Recipe]) -> Path:
    made = small_recipe(augment={"mixup": 0.4}, train={**TRAINING, "parallel": request.param})
    (tmp_path / "recipe.toml").write_text(made.to_toml())
    return tmp_path / "recipe.toml"


def assert_same(a: Run, b: Run) -> None:
    for which in ("best", "last"):
        one, two = load_file(a.weights(which)), load_file(b.weights(which))
        assert all(torch.equal(one[name], two[name]) for name in one), which


def test_a_killed_process_is_started_again_and_the_run_ends_as_if_nothing_had_happened(
    recipe: Path, stripes: Path, tmp_path: Path
) -> None:
    undisturbed = Launch(stripes, recipe, tmp_path / "a")
    status, said = undisturbed.ends()
    assert status == 0, said
    killed = Launch(stripes, recipe, tmp_path / "b", options=("--max-restarts", "3"))
    os.kill(killed.at_step(10).rank(1), signal.SIGKILL)
    status, said = killed.ends()
    assert status == 0, said
    assert killed.run.log.read_text().count("resuming") == 1
    assert_same(undisturbed.run, killed.run)


def test_sigterm_to_torchrun_saves_and_the_same_command_goes_on(recipe: Path, stripes: Path, tmp_path: Path) -> None:
    stopped = Launch(stripes, recipe, tmp_path / "run").at_step(10)
    stopped.process.terminate()
    stopped.ends()  # with 1, whatever its processes left with: torchrun counts a signal as a failure
    state = read_json(stopped.run.state)
    assert (state["state"], state["signal"]) == ("stopped", "SIGTERM")
    status, said = Launch(stripes, recipe, tmp_path / "run", words=("--resume", "auto")).ends()
    assert status == 0, said
    assert read_json(stopped.run.state)["state"] == "finished"
    assert [line["epoch"] for line in read_lines(stopped.run.metrics)] == list(range(1, EPOCHS + 1))
