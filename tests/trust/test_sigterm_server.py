"""Told to end, the server answers what it has been asked, and leaves with 0."""

import asyncio
import itertools
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import pytest
from scorecard import Card, Fault

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

from attackers import answer_of

from servers import Servers, address, hears
from talk import png, posted

pytestmark = pytest.mark.slow
FAULT = Fault(
    97, "SIGTERM to a loaded server", "every request that was sent before it is answered; exit 0 within the grace time, 30 s"
)
GRACE, HANG = 30, 600
"""Seconds: what is promised, and after which a server hangs on a machine under any load."""
MODES = ("once", "twice", "with SIGHUP before and after", "twice, while a model is loaded anew")


@dataclass
class Asking:
    """Clients without pause, every second one with a new connection for each request. A request counts from the moment when
    it is sent whole."""

    port: int
    told: float = float("inf")
    """When the server was told to end."""
    statuses: Counter[int] = field(default_factory=Counter)
    open: int = 0
    """Requests that were under way then."""
    under_way: int = 0
    lost: list[str] = field(default_factory=list)

    async def client(self, number: int) -> None:
        requests = itertools.cycle([posted(png(picture(which, (200, 200)))) for which in range(number, number + 3)])
        held = None
        while True:
            sent = float("inf")
            try:
                held = held or await asyncio.open_connection("127.0.0.1", self.port)
                reader, writer = held
                writer.write(next(requests))
                await writer.drain()
                sent = time.monotonic()
                self.open += 1
                status, _ = await asyncio.wait_for(answer_of(reader), HANG)
                self.statuses[status] += 1
            except (OSError, EOFError, TimeoutError) as error:
                if sent < self.told:
                    self.lost.append(repr(error))
                return
            finally:
                self.open -= sent < float("inf")
            if number % 2:
                writer.close()
                held = None


async def ended(server: Popen[str], port: int, mode: str, moment: float) -> tuple[Asking, float]:
    """The server under load, told to end after so many seconds; what its clients saw, and how long it took."""
    asking = Asking(port)
    clients = [asyncio.create_task(asking.client(number)) for number in range(16)]
    while not asking.statuses:
        await asyncio.sleep(0.01)
    await asyncio.sleep(moment)
    if mode in MODES[2:]:
        server.send_signal(signal.SIGHUP)
        await asyncio.sleep(moment / 10)
    asking.under_way, asking.told = asking.open, time.monotonic()
    server.send_signal(signal.SIGTERM)
    if mode != "once":
        await asyncio.sleep(moment / 10)
        server.send_signal(signal.SIGHUP if "after" in mode else signal.SIGTERM)
    while server.poll() is None and time.monotonic() < asking.told + HANG:
        await asyncio.sleep(0.02)
    took = time.monotonic() - asking.told
    await asyncio.gather(*clients)
    return asking, took


def test_what_was_sent_before_it_is_answered(process: Servers, card: Card) -> None:
    times, chance = card.times(20, 2), random.Random(97)
    statuses, under_way, longest = Counter[int](), 0, 0.0
    for mode in itertools.islice(itertools.cycle(MODES), times):
        server, port = process("--batch", "1")
        asking, took = asyncio.run(ended(server, port, mode, chance.uniform(0, 2)))
        assert not asking.lost, (mode, asking.lost)
        assert (server.returncode, set(asking.statuses) <= {200, 503}) == (0, True), (mode, asking.statuses)
        card.within(took, GRACE)
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read() + process.log.read_text(encoding="utf-8")
        statuses, under_way, longest = statuses + asking.statuses, under_way + asking.under_way, max(longest, took)
    said = ", ".join(f"{status}: {count:,}" for status, count in statuses.items())
    how = f"at random moments, 16 clients: {'; '.join(MODES[:times])}"
    card.seen(how, times, f"lost 0 of {under_way} requests under way; answers {said}; exit 0, after {longest:.1f} s at most")


def test_while_it_starts(process: Servers, weights: Path, card: Card) -> None:
    began = time.monotonic()
    address(process.begin())
    whole, times, chance = time.monotonic() - began, card.times(20, 2), random.Random(97)
    statuses, longest = Counter[int](), 0.0
    for _ in range(times):
        server = process.begin()
        time.sleep(chance.uniform(0, whole))
        heard, told = hears(server, signal.SIGTERM), time.monotonic()
        server.send_signal(signal.SIGTERM)
        status = server.wait(timeout=HANG)
        longest = max(longest, time.monotonic() - told)
        card.within(longest, GRACE)
        assert status == 0 or (status == -signal.SIGTERM and not heard)  # before a line of ours is read
        assert server.stderr is not None
        assert "Traceback" not in server.stderr.read()
        statuses[status] += 1
    said = f"{statuses[0]} left with 0, {statuses[-signal.SIGTERM]} died of it before a line of ours was read"
    card.seen(f"at random moments of the {whole:.1f} s of its start", times, f"{said}; after {longest:.1f} s at most")
