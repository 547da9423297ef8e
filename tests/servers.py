"""A small model that is served by `allmlp serve` in processes of its own. Two rooms of tests import these fixtures."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Process = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from talk import write  # each file of tests skips itself where allmlp[serve] is not installed, and this one is read before

    return write(tmp_path_factory.mktemp("served") / "model.safetensors", seed=1)


class Servers:
    """Those that a test has started; the log of the last one is `log`."""

    def __init__(self, folder: Path, run: Path) -> None:
        self.folder, self.run = folder, run
        self.started: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str, run: Path | None = None, **environment: str) -> tuple[subprocess.Popen[str], int]:
        """allmlp serve with these words, when it has said its address, and its port."""
        server = self.begin(*words, run=run, **environment)
        return server, address(server)

    def begin(self, *words: str, run: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """The same, not waited for."""
        command = [sys.executable, "-m", "allmlp", "serve", str(run or self.run), "--port", "0", "--engine", "eager", *words]
        self.log = self.folder / f"log{len(self.started)}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        with self.log.open("w") as out:
            server = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, text=True, env=environment)
        self.started.append(server)
        return server

    def lines(self) -> list[dict[str, Any]]:
        """What the last one logged."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def close(self) -> None:
        for server in self.started:
            server.kill()
            server.wait()
            assert server.stderr is not None
            server.stderr.close()


def address(server: subprocess.Popen[str]) -> int:
    """The port that it says on stderr."""
    assert server.stderr is not None
    for line in server.stderr:
        if "http://" in line:
            return int(line.split(":")[-1].split(",")[0])
    raise AssertionError("the server did not start")


def hears(server: subprocess.Popen[str], number: int) -> bool:
    """Whether a process has a handler for a signal (Linux)."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (number - 1) & 1)


@pytest.fixture
def process(tmp_path: Path, weights: Path) -> Iterator[Servers]:
    """process("--batch", "4") → allmlp serve in a process of its own, and its port."""
    servers = Servers(tmp_path, weights)
    yield servers
    servers.close()
