"""The README tells the truth: its commands run, and its files exist."""

import os
import re
import shlex
import signal
import socket
import threading
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import allmlp
from allmlp.cli import main
from languages import write_text

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.S) for line in block.splitlines() if line.strip()]
BRIEF = ["--rounds", "1", "--seconds", "0", "--batch", "1"]
SHORT = ["--train.epochs", "1", "--train.limit", "40", "--data.workers", "0"]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def test_every_command_of_the_readme_runs_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make` commands are for .ci/run, which is compared below; training is cut to one short epoch, measuring to one round."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("allmlp.shrinking.measure.SECONDS", 0.0)
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(12):
            pixels = generator.integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.jpg")
    Image.fromarray(pixels).save(tmp_path / "holiday.jpg")
    write_text(tmp_path / "multi30k", ("en", "de"))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    ours = [words_of(line) for line in COMMANDS if "allmlp" in line.split()[0]]
    assert len(ours) >= 6
    for command in ours:
        if command[1] == "train" and "--help" not in command:
            command += SHORT
        if command[1] == "pretrain":
            command += [
                *SHORT,
                "--dino.outputs",
                "64",
                "--dino.hidden",
                "16",
                "--dino.bottleneck",
                "8",
                "--dino.local-crops",
                "2",
            ]
        if command[1:3] == ["translate", "train"]:
            command += ["--model", "resmlp_mt_xs", "--translation.vocabulary", "100", "--train.epochs", "1"]
        if command[1] == "find-lr":
            command += ["--steps", "20", "--low", "1e-3", "--train.batch", "4", "--data.workers", "0"]
        if command[1] == "find-batch":
            command += ["--most", "1", "--seconds", "0"]
        if command[1] == "shrink":
            command += ["--epochs", "1"]
        if command[1] == "profile":
            command += BRIEF
        if command[1] == "translate" and find_spec("sentencepiece") is None:
            continue
        if command[1] == "serve":
            if find_spec("fastapi") is None:
                continue
            command += ["--port", str(ended_once_it_answers())]
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
        assert main(command[1:]) == 0, command
        for number, handler in before.items():  # a server that was told to end leaves them ignored
            signal.signal(number, handler)


def ended_once_it_answers() -> int:
    """A port; whatever this process serves there is ended by SIGTERM as soon as it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]

    def end() -> None:
        for _ in range(20_000):
            time.sleep(0.1)
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=end, daemon=True).start()
    return port


def test_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(allmlp, "train", lambda *a, **k: _short_train(tmp_path))
    Image.new("RGB", (50, 40), "red").save(tmp_path / "holiday.jpg")
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


def _short_train(folder: Path) -> object:
    from allmlp.training.main import train

    return train(
        recipe="demo",
        out=folder / "run",
        quiet=True,
        **{"train.epochs": 1, "train.limit": 40, "train.batch": 8, "hyper.depth": 1},
    )


def test_make_targets_of_the_readme_are_what_ci_runs() -> None:
    ci, makefile = (ROOT / ".ci" / "run").read_text(), (ROOT / "Makefile").read_text()
    targets = {words_of(line)[1] for line in COMMANDS if line.startswith("make ")}
    assert {"demo", "test", "check"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
        assert f"make {target}" in ci, target


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"
