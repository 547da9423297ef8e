"""A small model that is served, in this process and in one of its own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # each file of tests skips itself where allmlp[serve] is not installed, and this one is read before
    from allmlp.serving.app import Server


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from talk import write

    return write(tmp_path_factory.mktemp("served") / "model.safetensors", seed=1)


@pytest.fixture
def server_of(weights: Path) -> Callable[..., "Server"]:
    """server_of(images=3) → a server with these limits."""
    from allmlp.serving.app import Server
    from allmlp.serving.limits import Limits
    from allmlp.serving.served import Source

    def make(*, key: str | None = None, source: dict[str, Any] | None = None, **limits: Any) -> "Server":
        words: dict[str, Any] = {"run": str(weights), "engine": "eager", "batch": 8, **(source or {})}
        return Server(Source(**words), limits=Limits(**limits), key=key)

    return make


@pytest.fixture
def process(tmp_path: Path, weights: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """process("--batch", "4") → allmlp serve in a process of its own, and its port."""
    started: list[subprocess.Popen[str]] = []

    def make(*words: str, run: Path = weights, **environment: str) -> tuple[subprocess.Popen[str], int]:
        command = [sys.executable, "-m", "allmlp", "serve", str(run), "--port", "0", "--engine", "eager", *words]
        log = (tmp_path / f"log{len(started)}").open("w")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.PIPE, text=True, env=environment)
        started.append(server)
        assert server.stderr is not None
        for line in server.stderr:
            if "http://" in line:
                return server, int(line.split(":")[-1].split(",")[0])
        raise AssertionError("the server did not start")

    yield make
    for server in started:
        server.kill()
        server.wait()
        assert server.stderr is not None
        server.stderr.close()
