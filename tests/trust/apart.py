"""The command line in a process of its own for each call, forked from one that has imported allmlp: a call takes no seconds to
start, and whether it crashed, hung or took memory is seen from outside."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULES = (
    *(
        "allmlp.cli",
        "allmlp",
        "allmlp.training.main",
        "allmlp.commands.train",
        "allmlp.conversion.convert",
        "allmlp.prediction.pictures",
    ),
    *(
        "allmlp.evaluation.classification",
        "allmlp.reporting.page",
        "allmlp.explain",
        "PIL.WebPImagePlugin",
        "PIL.TiffImagePlugin",
    ),
    *("allmlp.training.trackers", "tensorboardX", "multiprocessing.queues"),  # another user may not be allowed to read them
)
"""What is imported once for all calls, where it is installed."""


@dataclass(frozen=True)
class Ended:
    """How a call ended."""

    status: int
    """Its exit status; below 0 the signal that it died of, and -9 of a call that was ended for its time."""
    seconds: float
    grown: float
    """Most memory resident at once beyond what was there at the start, in MiB."""
    out: str
    err: str

    @property
    def whole(self) -> bool:
        """Whether it said what it had to say: no crash, and no traceback."""
        return self.status >= 0 and "Traceback (most recent call last)" not in self.err


class Apart:
    """Calls of the command line, one after another."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def __call__(self, *words: object, seconds: float = 600, folder: Path | None = None, user: int = 0) -> Ended:
        """`allmlp words…`. seconds: what it may take. folder: where it runs. user: as whom, where this one is root."""
        asked = {"words": [str(word) for word in words], "seconds": seconds, "folder": str(folder or Path.cwd()), "user": user}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return Ended(**json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        self.process.communicate()


def _serve() -> None:
    """Answer every line of stdin with what became of a forked child."""
    from importlib import import_module

    for name in MODULES:
        with contextlib.suppress(ImportError):
            import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        answers.write(json.dumps(_forked(**json.loads(line))) + "\n")
        answers.flush()


def _forked(words: Sequence[str], seconds: float, folder: str, user: int) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open() as nothing:
        sys.stdout.flush()
        begun, start = time.monotonic(), _resident()
        child = os.fork()
        if not child:
            for number, file in ((0, nothing), (1, out), (2, err)):
                os.dup2(file.fileno(), number)
            os.chdir(folder)
            if user:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            _call(words)
        status, peak = _waited(child, begun + seconds)
        took = time.monotonic() - begun
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return {"status": status, "seconds": took, "grown": max(0.0, peak - start), "out": texts[0], "err": texts[1]}


def _call(words: Sequence[str]) -> None:
    """In the child: as `python -m allmlp` does it."""
    import traceback

    from allmlp.cli import main

    status = 1
    try:
        status = main(words)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _waited(child: int, until: float) -> tuple[int, float]:
    """(exit status, MiB at most)."""
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), used.ru_maxrss / 1024
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until = float("inf")
        time.sleep(0.005)


def _resident() -> float:
    """MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    _serve()
