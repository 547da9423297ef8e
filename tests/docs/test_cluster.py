"""The cluster page: its scripts parse, its words are ones allmlp knows, and its sums are right."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from allmlp import create_model
from allmlp.commands.train import Words
from allmlp.commands.words import parse, split_hyper
from allmlp.engine.cost import multiply_adds, parameters

PAGE = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def words_of_training(command: list[str]) -> Words:
    words, _ = split_hyper(command[command.index("train") + 1 :])
    return parse(Words, words, command="train")


def test_the_batch_script_is_bash() -> None:
    (script,) = blocks("bash")
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    command = next(line for line in script.splitlines() if "allmlp train" in line)
    given = words_of_training(shlex.split(command))
    assert given.resume == "auto"


def test_the_job_is_yaml_that_starts_what_allmlp_understands() -> None:
    (text,) = blocks("yaml")
    job = yaml.safe_load(text)
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    (container,) = worker["template"]["spec"]["containers"]
    given = words_of_training([*container["command"], *container["args"]])
    assert (given.data_folder, given.resume) == ("/data/imagenet", "auto")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in worker["template"]["spec"]["volumes"]}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(job["spec"]["nprocPerNode"])


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines() if "torchrun" in line])
def test_commands_of_the_page_are_understood(line: str) -> None:
    assert words_of_training(shlex.split(line)).out is not None


def test_the_plan_for_mixer_h14_adds_up() -> None:
    with torch.device("meta"):
        model = create_model("mixer_h14")
    count, macs = parameters(model), multiply_adds(model)
    assert f"{count:,} parameters, {macs / 1e9:.2f} G multiply-adds" in PAGE
    state, ema, copies, activations = 16 * count / 1e9, 4 * count / 1e9, 2 * count / 1e9, 64 * 0.40
    for shards in (1, 8, 64):
        assert f"{state / shards:.2f} GB" in PAGE
        assert f"{state / shards + ema / shards + copies + activations:.1f} GB" in PAGE
    block = 256 * 1280 * 12 + 2 * 1280 * 640 * 2 + 2 * 256 * 5120 * 2
    assert block / 1e6 == pytest.approx(12.5, abs=0.05)
    assert 32 * block / 1e9 == pytest.approx(0.40, abs=0.005)
    rate = 0.4 * 989e12 / (6 * macs)
    assert rate == pytest.approx(545, abs=1)
    step = 64 / rate
    assert step == pytest.approx(0.117, abs=5e-4)
    for gpus, link, ddp, fsdp in ((8, 300e9, 0.010, 0.015), (64, 40e9, 0.085, 0.128)):
        share = (gpus - 1) / gpus * 4 * count / link
        assert 2 * share == pytest.approx(ddp, abs=6e-4)
        assert 3 * share == pytest.approx(fsdp, abs=6e-4)
        whole = step / 3 + max(step * 2 / 3, 2 * share)
        speed = gpus * 64 / whole
        assert f"{round(speed, -1):,.0f}" in PAGE or f"{round(speed, -3):,.0f}" in PAGE
        assert f"{1.281e6 / speed:.0f} s" in PAGE
