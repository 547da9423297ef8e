"""Bodies that are compressed, and headers as any client may write them."""

import gzip
import json
import random
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from scorecard import Card, Fault

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2

from allmlp.serving.app import Server
from allmlp.serving.limits import Limits
from allmlp.serving.served import Source
from talk import encoded, png, talk

FAULT = Fault(
    255,
    "Compressed bodies and odd headers",
    "the answer of the plain body, or 400, 406, 413, 415 or 422 with a hint; never more memory than the limit of a body",
)
MEGABYTE = 1_000_000
PLAIN = json.dumps(encoded(png(picture(1)))).encode()


@pytest.fixture(scope="module")
def server(weights: Path) -> Server:
    return Server(Source(run=str(weights), engine="eager"), limits=Limits(megabytes=1, images=3, waiting=3))


def bodies(chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """(content encoding, body): whole, damaged, cut, mixed up, and bombs."""
    bombs = [gzip.compress(bytes(30 * MEGABYTE)), zlib.compress(bytes(30 * MEGABYTE)), gzip.compress(b"") * 3000]
    while True:
        name = chance.choice(("gzip", "x-gzip", "GZip", "deflate", "identity", "br", "zstd", "gzip, gzip", "compress", ""))
        made = bytearray(zlib.compress(PLAIN) if chance.random() < 0.3 else gzip.compress(PLAIN))
        kind = chance.randrange(6)
        if kind == 0:
            made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del made[chance.randrange(len(made)) :]
        elif kind == 2:
            made += chance.choice((bytes(9), b"x", bytes(made), gzip.compress(b"")))
        elif kind == 3:
            made = bytearray(chance.choice(bombs))
        elif kind == 4:
            made = bytearray(PLAIN)
        yield name, bytes(made)


def test_a_compressed_body_is_its_plain_one_or_refused(server: Server, card: Card) -> None:
    times, chance, found = card.times(5_000, 60), random.Random(0), Counter[int]()
    given = bodies(chance)

    async def all_of_them(client: httpx2.AsyncClient) -> None:
        plain = {"content-type": "application/json"}
        expected = (await client.post("/v1/predict", content=PLAIN, headers=plain)).json()["predictions"]
        for _ in range(times):
            name, body = next(given)
            answer = await client.post("/v1/predict", content=body, headers={**plain, "content-encoding": name})
            found[answer.status_code] += 1
            assert answer.status_code in (200, 400, 413, 415, 422), (name, answer.text)
            if answer.status_code == 200:
                assert answer.json()["predictions"] == expected
            else:
                assert set(answer.json()) == {"error", "hint"}
            assert server.load.bytes == server.load.requests == 0

    talk(server, all_of_them)
    assert found[200]
    assert found[415]
    said = ", ".join(f"{status}: {count:,}" for status, count in sorted(found.items()))
    card.seen("bodies compressed, damaged, cut, said to be what they are not, and bombs of 30 MB", times, said)


def test_head_and_accept_agree_with_get(server: Server, card: Card) -> None:
    paths = [
        "/",
        "/docs",
        "/healthz",
        "/readyz",
        "/openapi.json",
        "/v1/model",
        "/v1/mixing",
        "/v1/predict",
        "/nothing",
        "/v1/model/",
    ]
    names = ["text/html", "application/json", "text/*", "application/*", "*/*", "image/png", "nonsense", "", "*/*;q=0", "*"]
    times, chance, found = card.times(2_000, 60), random.Random(1), Counter[int]()

    async def all_of_them(client: httpx2.AsyncClient) -> None:
        for _ in range(times):
            path = chance.choice(paths)
            accept = ", ".join(
                chance.choice(names) + chance.choice(("", ";q=0.5", "; q=0", ";v=1")) for _ in range(chance.randrange(4))
            )
            plain, head = [await client.request(method, path, headers={"accept": accept}) for method in ("GET", "HEAD")]
            found[plain.status_code] += 1
            assert plain.status_code in (200, 404, 405, 406), plain.text
            assert (head.status_code, head.content, dict(head.headers)) == (plain.status_code, b"", dict(plain.headers))
            assert plain.status_code == 200 or plain.json()["hint"]

    talk(server, all_of_them)
    assert {200, 406} <= set(found)
    said = ", ".join(f"{status}: {count:,}" for status, count in sorted(found.items()))
    card.seen("GET and HEAD of every path with headers Accept put together at random", times, said)
