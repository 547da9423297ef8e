"""The server goes on answering, each its own picture, whatever else comes in."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import statistics
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scorecard import Card, Fault

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

from attackers import Honest, attacked, attacks

from servers import Servers
from talk import expected, png, write

pytestmark = pytest.mark.slow
FAULT = Fault(
    95, "The server under attack", "no 5xx but an honest 503; none lost, none mixed up; the key holds; memory does not grow"
)
PICTURES = 128
APART = 1e-3
"""By which two pictures' probabilities differ at least, where answers are compared to 1e-5."""
ENOUGH = 20_000
"""Answers from which on memory that grows can be told from memory that settles."""
SCHEMATHESIS = os.environ.get("SCHEMATHESIS") or shutil.which("schemathesis")


def resident(process: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def apart(known: list[tuple[bytes, dict[str, Any]]]) -> list[tuple[bytes, dict[str, Any]]]:
    """Those whose answers cannot be taken for one another's."""
    kept: list[tuple[bytes, dict[str, Any]]] = []
    for content, row in known:
        ways = dict(zip(row["classes"], row["probabilities"], strict=True))
        others = (zip(other["classes"], other["probabilities"], strict=True) for _, other in kept)
        if all(max(abs(ways[name] - value) for name, value in other) > APART for other in others):
            kept.append((content, row))
    return kept


async def watched(process: int, honest: Honest, samples: list[tuple[int, int]]) -> None:
    """Every second: answers so far, and memory."""
    while True:
        samples.append((honest.answered, resident(process)))
        await asyncio.sleep(1)


def growth(samples: list[tuple[int, int]], parts: int = 8) -> tuple[float, float]:
    """kB for each 1,000 answers, and the standard error: of the slopes between the means of so many parts of the later four
    fifths."""
    later = samples[len(samples) // 5 :]
    size = len(later) // (parts + 1)
    means = [
        tuple(statistics.fmean(column) for column in zip(*later[i * size : (i + 1) * size], strict=True))
        for i in range(parts + 1)
    ]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(means)]  # bytes an answer: kB a thousand
    return statistics.fmean(slopes), statistics.stdev(slopes) / parts**0.5


def test_honest_clients_among_attackers_get_their_own_answers(process: Servers, tmp_path: Path, card: Card) -> None:
    weights = write(tmp_path / "unsure.safetensors", seed=1, sure=3)
    known = apart([(png(picture(n)), row) for n, row in enumerate(expected(weights, tmp_path / "pictures", PICTURES, top=5))])
    assert len(known) > PICTURES / 4
    clients, requests, seconds = card.times(256, 16), card.times(100_000, 150), card.times(600, 3)
    server, port = process(run=weights, ALLMLP_API_KEY="secret")
    honest, samples = Honest(port, known), list[tuple[int, int]]()

    async def all_of_it() -> dict[str, Counter[int]]:
        watch = asyncio.create_task(watched(server.pid, honest, samples))
        kinds = attacks(png(picture(0)), seconds=card.times(60, 3))
        work = honest.many(clients, requests=requests, seconds=seconds)
        found = await attacked(port, kinds, work, at_once=card.times(8, 1))
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
        return found

    found = asyncio.run(all_of_it())
    assert not honest.lost, honest.lost[:3]
    assert not honest.mixed, honest.mixed[:3]
    assert honest.answered >= requests
    assert {status for kind in found.values() for status in kind if status >= 500} <= {503}
    assert all(sum(kind.values()) for kind in found.values()), found
    assert not {200} & set(found["missing and wrong keys"])
    assert server.poll() is None
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=600) == 0
    statuses = Counter(line["status"] for line in process.lines() if line["event"] == "request")
    assert set(filter(lambda status: status >= 500, statuses)) <= {503}, statuses
    assert not [line for line in process.lines() if "trace" in line]
    card.seen(
        f"{clients} clients for {samples[-1][0]:,} requests, each answer compared with `predict`'s for its picture",
        honest.answered,
        f"lost 0, mixed up 0, told to come again (503) {honest.busy}; {len(known)} pictures, all answers ≥ {APART:g} apart",
    )
    for kind, counts in found.items():
        said = ", ".join(f"{status or 'no answer'}: {count:,}" for status, count in sorted(counts.items()))
        card.seen(f"meanwhile {kind}", sum(counts.values()), said)
    if honest.answered > ENOUGH:
        slope, error = growth(samples)
        assert slope - 3 * error < 0.01 * samples[-1][1] / 100, (slope, error)  # kB a thousand: 1 % of it all in 100,000
        card.seen(
            "memory after a fifth of that, once a second",
            len(samples),
            f"{slope:+.1f} ± {error:.1f} kB for each 1,000 answers, {samples[-1][1] / 1e6:.0f} MB in the end",
        )


def test_what_the_openapi_description_leads_to(process: Servers, card: Card) -> None:
    if not SCHEMATHESIS:
        pytest.skip(
            "schemathesis is not installed: uv tool install 'schemathesis==4.32.*', or name its program in SCHEMATHESIS"
        )
    cases = card.times(5_000, 60)
    server, port = process(ALLMLP_API_KEY="secret")
    checks = "not_a_server_error,content_type_conformance,response_schema_conformance,ignored_auth"
    command = [SCHEMATHESIS, "run", f"http://127.0.0.1:{port}/openapi.json", "--header", "Authorization: Bearer secret"]
    command += ["--checks", checks, "--max-examples", str(cases), "--phases", "examples,coverage,fuzzing", "--seed", "1"]
    command += ["--continue-on-failure", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=600) == 0
    statuses = Counter(line["status"] for line in process.lines() if line["event"] == "request")
    assert set(filter(lambda status: status >= 500, statuses)) <= {503}, statuses
    assert done.returncode == 0, done.stdout[-3000:]
    assert statuses.total() >= cases
    said = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
    card.seen("schemathesis on the server's own description, requests", statuses.total(), said)
