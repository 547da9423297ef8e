"""The four ways by which a stranger's picture comes in: train, predict, explain and serve; each counts what it was given."""

import base64
import http.client
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from apart import Apart, Ended

from allmlp.run import read_json, read_lines

SMALL = (
    *("--model", "resmlp_xs", "--hyper.dim", "8", "--hyper.depth", "1"),
    *("--hyper.patch-size", "4", "--data.img-size", "8", "8"),
)
"""For `allmlp train`: a model that is trained in a second."""


@dataclass(frozen=True)
class Counted:
    """What became of some pictures."""

    answered: int
    refused: int
    """With a reason."""
    seconds: float
    """Of all together; of the slowest where each was asked alone."""
    grown: float
    """MiB beyond start."""


def predicted(apart: Apart, weights: Path, folder: Path) -> Counted:
    """By `allmlp predict --json`."""
    ended = _done(apart("predict", weights, folder, "--json", seconds=600), 0, 1)
    rows = [json.loads(line) for line in ended.out.splitlines()]
    reasons = [row["error"] for row in rows if "error" in row]
    assert all(reasons)
    assert len({row["path"] for row in rows}) == len(rows)
    return Counted(len(rows) - len(reasons), len(reasons), ended.seconds, ended.grown)


def explained(apart: Apart, weights: Path, files: list[Path], out: Path) -> Counted:
    """By `allmlp explain`: those that can be read are in explain.json, the others are named with a reason."""
    listed = out.parent / f"{out.name}-pictures"
    listed.mkdir()
    for file in files:
        (listed / file.name).symlink_to(file)
    ended = _done(apart("explain", weights, listed, "--most", len(files), "--out", out, "--json", seconds=600), 0, 2)
    if ended.status == 2:
        assert f"none of the {len(files)} pictures could be read" in ended.err
        return Counted(0, len(files), ended.seconds, ended.grown)
    found = json.loads(ended.out)
    return Counted(len(found["images"]), len(found["unreadable"]), ended.seconds, ended.grown)


def trained(apart: Apart, folder: Path, out: Path, *, good: int) -> Counted:
    """By `allmlp train`, over class folders with so many good pictures among the others; those are not counted."""
    more = (
        "--data.max-bad-share",
        "1",
        "--data.workers",
        "0",
        "--train.epochs",
        "1",
        "--train.batch",
        "32",
        "--train.precision",
        "fp32",
    )
    ended = _done(apart("train", folder, *SMALL, *more, "--out", out, "--quiet", seconds=600), 0)
    said = read_json(out / "data.json")
    unreadable = {record["path"] for record in read_lines(out / "unreadable.jsonl") if record["reason"]}
    assert read_json(out / "run.json")["state"] == "finished"
    everything = said["left_out_count"] + said["train"]["images"] + said["val"]["images"]
    return Counted(everything - good - len(unreadable), len(unreadable), ended.seconds, ended.grown)


@contextmanager
def server(weights: Path) -> Iterator["Served"]:
    """`allmlp serve` in a process of its own."""
    command = [sys.executable, "-m", "allmlp", "serve", str(weights), "--port", "0", "--engine", "eager", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    try:
        port = next(int(found[1]) for line in process.stderr if (found := re.search(r":(\d+),", line)))
        threading.Thread(target=process.stderr.read).start()  # libtiff complains there, and would wait where nobody listens
        yield Served(process.pid, port)
    finally:
        process.kill()
        process.wait()


class Served:
    """How a server is asked."""

    def __init__(self, process: int, port: int) -> None:
        self.process, self.port = process, port

    def count(self, contents: list[bytes]) -> Counted:
        """One request for each picture."""
        start, answered, slowest = self.resident("VmRSS"), 0, 0.0
        for content in contents:
            body = json.dumps({"images": [base64.b64encode(content).decode()]})
            line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
            begun = time.monotonic()
            line.request("POST", "/v1/predict", body, {"content-type": "application/json"})
            answer = line.getresponse()
            said = json.loads(answer.read())
            slowest = max(slowest, time.monotonic() - begun)
            line.close()
            assert answer.status == 200 or (400 <= answer.status < 500 and said), (answer.status, said)
            answered += answer.status == 200
        return Counted(answered, len(contents) - answered, slowest, self.resident("VmHWM") - start)

    def resident(self, which: str) -> float:
        """MiB."""
        text = Path(f"/proc/{self.process}/status").read_text(encoding="ascii")
        return int(re.findall(rf"{which}:\s+(\d+) kB", text)[0]) / 1024


def _done(ended: Ended, *statuses: int) -> Ended:
    assert ended.whole, ended.err[-2000:]
    assert ended.status in statuses, (ended.status, ended.err[-2000:])
    return ended
