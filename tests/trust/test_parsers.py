"""What reads files of allmlp's own kinds gives a value or an error of its own types, whatever the bytes."""

import os
import random
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from parsers import PARSERS
from scorecard import Card, Fault

from allmlp.errors import AllmlpError
from helpers import attempt

FAULT = Fault(
    90,
    "Our own parsers",
    "recipe, run folder, bundle manifest, npz, layout detection and vocabulary: a value or a typed error, for any bytes",
)
pytestmark = pytest.mark.slow
BITS = (
    b"\0",
    b"\xff",
    b"9" * 30,
    b"-1",
    b"1e999",
    b"NaN",
    b"[",
    b"]" * 3,
    b"{",
    b"}",
    b'"',
    b"null",
    b"\n",
    b"\r",
    b"=",
    b".",
    b"'",
    b"\xe2\x82",
)
"""Which grammars give way at."""


def mutated(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Bytes changed, cut, doubled, put in from BITS and from another seed: one to eight times."""
    for _ in range(chance.choice((1, 1, 2, 8))):
        a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        b = min(b, a + chance.choice((0, 1, 4, 40, 4000)))
        other = chance.choice(others)
        start = chance.randrange(len(other) + 1)
        filling = (
            chance.choice(BITS),
            bytes([chance.randrange(256)]),
            other[start : start + chance.choice((4, 60))],
            content[a:b] * 2,
            b"",
        )
        content = content[:a] + chance.choice(filling) + content[b:]
    return content


@pytest.mark.parametrize(
    ("name", "full"),
    [("recipe", 20_000), ("run", 10_000), ("manifest", 10_000), ("arrays", 5000), ("layout", 2000), ("vocabulary", 10_000)],
)
def test_parsers(name: str, full: int, weights: Path, tmp_path: Path, card: Card) -> None:
    if name == "vocabulary":
        pytest.importorskip("sentencepiece", reason="extra translate")
    whole, read = PARSERS[name]
    chance, given = random.Random(0), whole(weights)
    count, refused = card.times(full, full // 100), 0
    for _ in range(count):
        content = mutated(chance.choice(given), given, chance)
        _, error = attempt(AllmlpError, read, tmp_path, content)
        assert error is None or error.hint, error
        refused += error is not None
    assert refused
    card.seen(f"mutated bytes to {name}", count, f"{count - refused:,} read, {refused:,} refused by a typed error")


@pytest.mark.parametrize(
    ("name", "full"), [("recipe", 20_000), ("run", 20_000), ("manifest", 20_000), ("arrays", 10_000), ("layout", 10_000)]
)
def test_parsers_guided_by_their_coverage(name: str, full: int, weights: Path, tmp_path: Path, card: Card) -> None:
    if find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install atheris")
    times, folder, corpus = card.times(full, 500), tmp_path / "written", tmp_path / "corpus"
    for path in (folder, corpus):
        path.mkdir()
    for number, content in enumerate(PARSERS[name][0](weights)):
        (corpus / str(number)).write_bytes(content)
    command = [sys.executable, str(Path(__file__).with_name("guided.py")), name, str(folder), str(corpus)]
    command += [f"-atheris_runs={times}", "-seed=1", "-max_len=20000", "-timeout=20", f"-artifact_prefix={tmp_path}/"]
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=3600)
    found = [path for path in tmp_path.iterdir() if path.is_file()]
    # libFuzzer's alarm may still ring while Python clears away: after the last run that says nothing of a parser
    ended = (0, -signal.SIGALRM) if f"Done {times} in" in done.stderr else (0,)
    assert done.returncode in ended, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert not found, found
    covered = [int(count) for count in re.findall(r"\bcov: (\d+)", done.stderr)]
    assert covered[-1] > covered[0], "the parsers are not instrumented"
    card.seen(
        f"bytes to {name}, guided by coverage (atheris)",
        times,
        f"no crash, none longer than 20 s; branches reached: {covered[0]:,} by whole files, {covered[-1]:,} in the end",
    )
