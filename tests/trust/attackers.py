"""Clients of a server: honest ones, whose answers are known, and others."""

import asyncio
import itertools
import json
import random
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from talk import FORM_HEAD, posted, same

KEY = b"Authorization: Bearer secret\r\n"
CLOSE = b"Host: x\r\nConnection: close\r\n"


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer. Raises EOFError where there is none, OSError where the connection breaks."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


@dataclass
class Honest:
    """Clients that send one picture after another and compare each answer with `known`: (picture, what predict says)."""

    port: int
    known: list[tuple[bytes, dict[str, Any]]]
    answered: int = 0
    busy: int = 0
    mixed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    async def many(self, clients: int, *, requests: int, seconds: float) -> None:
        """Until both are over."""
        ends = time.monotonic() + seconds
        requested = [posted(picture, KEY) for picture, _ in self.known]
        await asyncio.gather(*(self._client(number, requested, requests, ends) for number in range(clients)))

    async def _client(self, number: int, requested: list[bytes], requests: int, ends: float) -> None:
        order = random.Random(number)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while self.answered < requests or time.monotonic() < ends:
            which = order.randrange(len(requested))
            try:
                writer.write(requested[which])
                status, body = await asyncio.wait_for(answer_of(reader), 600)
            except (OSError, EOFError, TimeoutError) as error:
                self.lost.append(repr(error))
                return
            if status == 503:
                self.busy += 1
                await asyncio.sleep(1)
                continue
            self.answered += 1
            if status != 200 or not same(json.loads(body)["predictions"][0], self.known[which][1]):
                self.mixed.append(f"{status} for picture {which}: {body[:300]!r}")
        writer.close()


Attack = Callable[[int], Awaitable[tuple[int, bytes]]]


async def sent(port: int, parts: Iterable[bytes], *, every: float = 0.0, end: str = "") -> tuple[int, bytes]:
    """Status (0: none) and all that came back. end: "half" shuts our side, "reset" breaks the connection, "mute" reads late."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    try:
        for part in parts:
            writer.write(part)
            if every:
                try:
                    found = await asyncio.wait_for(reader.read(65_536), every)
                    break  # an answer, or the end
                except TimeoutError:
                    continue
        if end == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return 0, b""
        if end == "half":
            writer.write_eof()
        if end == "mute":
            await asyncio.sleep(5)
        while part := await asyncio.wait_for(reader.read(65_536), 60):
            found += part
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()
    return (int(found.split()[1]) if found.startswith(b"HTTP/1.1 ") else 0), found


def attacks(picture: bytes, seconds: float) -> dict[str, list[Attack]]:
    """Kind → its attacks; those that are slow take so many seconds, if they are let."""
    whole, trickle = posted(picture, KEY), b"GET / HTTP/1.1\r\nA: " + b"a" * int(seconds)
    chunked = FORM_HEAD + KEY + b"Transfer-Encoding: chunked\r\n\r\n"

    def slowly(content: bytes, head: bytes = b"") -> Attack:
        return lambda port: sent(port, [head, *(bytes([one]) for one in content)], every=1)

    def at_once(content: bytes, end: str = "") -> Attack:
        return lambda port: sent(port, [content], end=end)

    return {
        "slow headers": [slowly(trickle)],
        "slow bodies": [slowly(b"-" * int(seconds), FORM_HEAD + KEY + b"Content-Length: 1000\r\n\r\n")],
        "sockets left silent, half open or broken": [
            lambda port: sent(port, [b""] * int(seconds), every=1),
            *(at_once(content, end) for content in (b"", whole[:200], whole[:-20]) for end in ("half", "reset")),
            at_once(whole, "half"),
            at_once(whole, "reset"),
            at_once(whole * 50, "mute"),
        ],
        "missing and wrong keys": [at_once(posted(picture, b"Connection: close\r\n" + key)) for key in KEYS],
        "path tricks": [at_once(b"GET %b HTTP/1.1\r\n%b%b\r\n" % (path, CLOSE, key)) for path in PATHS for key in (b"", KEY)],
        "header floods": [
            at_once(b"GET / HTTP/1.1\r\nA: " + b"a" * 1_000_000),
            at_once(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000),
            at_once(b"GET /" + b"a" * 1_000_000),
            at_once(chunked + b"0\r\nA: " + b"a" * 1_000_000),
            at_once(chunked + b"1;" + b"a" * 1_000_000),
        ],
    }


KEYS = [
    b"",
    b"Authorization: Bearer wrong\r\n",
    b"Authorization: Bearer\r\n",
    b"Authorization: Basic c2VjcmV0\r\n",
    b"Authorization: Bearer secre\r\n",
    b"Authorization: Bearer secret\xff\r\n",
    b"Authorization: Bearer " + b"s" * 50_000 + b"\r\n",
    b"X-Api-Key: Secret\r\n",
]
PATHS = [
    b"/../../../../etc/passwd",
    b"/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    b"/..%2f..%2f..%2fetc%2fpasswd",
    b"/%252e%252e/%252e%252e/etc/passwd",
    b"/%c0%ae%c0%ae/%c0%ae%c0%ae/etc/passwd",
    b"/..\\..\\etc\\passwd",
    b"/etc/passwd",
    b"//etc/passwd",
    b"/v1/../../etc/passwd",
    b"/v1/model/../../../etc/passwd",
    b"/etc/passwd%00",
    b"/%00/etc/passwd",
    b"/v1/nothing%00.png",
    b"/%ff%fe%ed%a0%80",
    b"/\xff\xfe",
    b"/v1/%0d%0aX-Set:1",
    b"file:///etc/passwd",
    b"http://elsewhere.example/etc/passwd",
    b"http://[/etc/passwd",
    b"elsewhere.example:80",
    b"*",
    b"/" + b"../" * 2000 + b"etc/passwd",
    b"/" + b"a/" * 20_000,
]


async def attacked(
    port: int, kinds: dict[str, list[Attack]], honest: Awaitable[None], *, at_once: int
) -> dict[str, Counter[int]]:
    """So many attackers of each kind, one attack after the other, while the honest work; kind → how often which status."""
    found: dict[str, Counter[int]] = {kind: Counter() for kind in kinds}
    stolen: list[bytes] = []

    async def attacker(kind: str, number: int) -> None:
        for attack in itertools.islice(itertools.cycle(kinds[kind]), number, None):
            try:
                status, said = await attack(port)
            except OSError:
                status, said = 0, b""
            except asyncio.CancelledError:  # held until the end
                found[kind][0] += 1
                raise
            found[kind][status] += 1
            stolen.extend([said] if b"root:" in said else [])
            await asyncio.sleep(0.05)

    others = [asyncio.create_task(attacker(kind, number)) for kind in kinds for number in range(at_once)]
    await honest
    left = set(others)
    while left:  # once is not enough: before Python 3.12, wait_for forgets a cancellation that meets its answer
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)
    assert not stolen
    return found
