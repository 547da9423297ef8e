"""The load generator of the benchmark counts what there is."""

import asyncio
import os
import time
from types import ModuleType

import pytest

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

from allmlp.pixels.read import decode_image
from allmlp.serving.pictures import pictures_of
from helpers import benchmark


@pytest.fixture(scope="module")
def load() -> ModuleType:
    return benchmark("serving_load")


def test_its_requests_hold_its_pictures(load: ModuleType) -> None:
    contents = load.pictures(40, 3)
    assert len(set(contents)) == 3
    for content in contents:
        head, _, body = load.request_of(content).partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert int(headers["Content-Length"]) == len(body)
        (found,) = pictures_of(headers["Content-Type"], body, most=1)
        assert found.content == content
        assert decode_image(found.content, "").size == (40, 40)


def test_it_counts_answers_failures_and_how_long_they_took(load: ModuleType) -> None:
    """Of a server that needs 20 ms and fails every fourth time."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                return
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            await asyncio.sleep(0.02)
            count += 1
            writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % (500 if count % 4 == 0 else 200))

    async def both() -> dict[str, float]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            found: dict[str, float] = await load.Load(server.sockets[0].getsockname()[1], load.pictures(16), 2, 0.5).here()
            return found

    found = asyncio.run(both())
    assert found["answers"] == count
    assert found["failures"] == count // 4
    assert 0.02 <= found["p50"] <= found["p99"]
    assert found["rate"] > 0


def test_it_reads_what_a_session_had_of_the_processors(load: ModuleType) -> None:
    before, ends = load.seconds_of(os.getsid(0)), time.process_time() + 0.2
    while time.process_time() < ends:
        pass
    assert load.seconds_of(os.getsid(0)) - before >= 0.15
