"""What HTTP's own words ask of the server: HEAD, Accept, Content-Encoding, base64 as others write it."""

import base64
import gzip
import json
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2

from allmlp.serving import coding
from allmlp.serving.accept import takes
from allmlp.serving.app import Server
from allmlp.serving.base64_text import from_base64
from allmlp.serving.limits import Limits
from allmlp.serving.refused import Refused
from talk import ask, encoded, png, talk

PATHS = ["/", "/docs", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/model", "/v1/mixing"]
JSON_HEAD = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(weights: Path) -> Server:
    from allmlp.serving.served import Source

    return Server(Source(run=str(weights), engine="eager"), limits=Limits(images=3, waiting=3, megabytes=1, pixels=10_000))


def refused(answer: httpx2.Response, status: int, *words: str) -> bool:
    said = answer.json()
    assert answer.status_code == status, said
    assert set(said) == {"error", "hint"}
    assert said["hint"]
    assert all(word in said["error"] for word in words), said
    return True


@pytest.mark.parametrize("path", [*PATHS, "/nothing", "/v1/model/", "/v1/predict", "/v1/reload"])
def test_head_has_the_headers_of_get_and_no_body(server: Server, path: str) -> None:
    plain, head = ask(server, "GET", path), ask(server, "HEAD", path)
    assert head.content == b""
    assert head.status_code == plain.status_code
    if path == "/metrics":  # which counts the requests before
        assert head.headers.keys() == plain.headers.keys()
    else:
        assert dict(head.headers) == dict(plain.headers)
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
def test_another_method_is_told_which_there_are(server: Server, path: str, method: str) -> None:
    answer = ask(server, method, path)
    assert refused(answer, 405, f"{method} is not for {path}")
    assert answer.headers["allow"] == "GET, HEAD"


def test_head_asks_for_the_key_too(server_of: Callable[..., Server]) -> None:
    server = server_of(key="secret")
    assert ask(server, "HEAD", "/v1/model").status_code == 401
    assert ask(server, "HEAD", "/healthz").status_code == 200


@pytest.mark.parametrize(
    ("accept", "kind", "taken"),
    [
        ([], "text/html", True),
        ([""], "text/html", True),
        (["*/*"], "application/json", True),
        (["*"], "application/json", True),
        (["application/*"], "application/json", True),
        (["Application/JSON"], "application/json", True),
        (["application/json; charset=utf-8"], "application/json", True),
        (["image/png"], "application/json", False),
        (["image/png", "application/json"], "application/json", True),
        (["image/png, */*;q=0.1"], "application/json", True),
        (["image/png, */*;q=0"], "application/json", False),
        (["*/*, application/json;q=0"], "application/json", False),
        (["*/*;q=0, application/*;q=0.5"], "application/json", True),
        (["application/*, application/json; Q=0.0"], "application/json", False),
        (["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], "application/json", True),
        (["application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"], "text/plain", True),
        (["nonsense"], "application/json", True),
        (["*/json"], "application/json", True),
        (["application/json;q=x, image/png"], "application/json", False),
    ],
)
def test_accept_is_read_as_http_says(accept: list[str], kind: str, taken: bool) -> None:
    assert takes(accept, kind) is taken


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_takes_no_such_content_is_told_what_there_is(server: Server, path: str) -> None:
    answer = ask(server, "GET", path, headers={"accept": "image/png"})
    assert refused(answer, 406, f"{path} answers in ")
    kind = answer.json()["error"].split(" answers in ")[1].split(",")[0]
    assert ask(server, "GET", path, headers={"accept": kind}).headers["content-type"].split(";")[0] == kind


def test_accept_decides_before_an_image_is_looked_at(server: Server) -> None:
    counted = server.metrics.images._value.get()
    content = encoded(png(picture(1)))
    assert refused(ask(server, json=content, headers={"accept": "image/png"}), 406, "application/json")
    assert server.metrics.images._value.get() == counted
    assert ask(server, json=content, headers={"accept": "text/html;q=0.3, application/json"}).status_code == 200
    assert refused(ask(server, "GET", "/nothing", headers={"accept": "text/html"}), 404, "nothing at")


def compressed(content: bytes, name: str, **headers: str) -> dict[str, Any]:
    """For `ask`: a body that is said to be so."""
    return {"content": content, "headers": {**JSON_HEAD, "content-encoding": name, **headers}}


def test_compressed_bodies_get_the_answer_of_plain_ones(server: Server) -> None:
    plain = json.dumps(encoded(png(picture(1)), png(picture(2)))).encode()
    expected = ask(server, content=plain, headers=JSON_HEAD).json()
    halves = gzip.compress(plain[:100]) + gzip.compress(plain[100:])
    for name, content in (
        ("identity", plain),
        ("", plain),
        ("gzip", gzip.compress(plain)),
        ("GZIP", gzip.compress(plain)),
        ("x-gzip", gzip.compress(plain)),
        ("identity, gzip", gzip.compress(plain)),
        ("gzip", halves),
        ("gzip", gzip.compress(b"") + halves + bytes(512)),
        ("deflate", zlib.compress(plain)),
    ):
        answer = ask(server, **compressed(content, name))
        assert (answer.status_code, answer.json()) == (200, expected), name


def test_a_compressed_form_is_taken_and_so_are_pieces_of_any_size(server: Server) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\n' + png(picture(1)) + b"\r\n--x--\r\n"
    body = gzip.compress(part[:50]) + gzip.compress(part[50:])
    headers = {"content-type": "multipart/form-data; boundary=x", "content-encoding": "gzip"}
    expected = ask(server, content=part, headers={"content-type": headers["content-type"]}).json()
    for size in (1, 7, len(body)):

        async def pieces(client: httpx2.AsyncClient, size: int = size) -> httpx2.Response:
            async def chunks() -> Any:
                for start in range(0, len(body), size):
                    yield body[start : start + size]

            return await client.post("/v1/predict", content=chunks(), headers=headers)

        answer = talk(server, pieces)
        assert (answer.status_code, answer.json()) == (200, expected), size


@pytest.mark.parametrize("name", ["br", "zstd", "compress", "aws-chunked", "gzip, br", "gzip, gzip", "deflate,gzip", "ä"])
def test_an_encoding_that_is_not_known_is_named(server: Server, name: str) -> None:
    answer = ask(server, content=b"x", headers={**JSON_HEAD, "content-encoding": name.encode()})  # type: ignore[dict-item]
    assert refused(answer, 415, "2 times" if name in ("gzip, gzip", "deflate,gzip") else "the content encoding")
    assert name.startswith(("gzip", "deflate", "ä")) or repr(name) in answer.json()["error"]
    assert answer.headers["accept-encoding"] == "gzip, deflate"


WHOLE = gzip.compress(json.dumps(encoded(b"hi")).encode(), mtime=0)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gzip", b"hello"),
        ("gzip", WHOLE[:-1]),
        ("gzip", WHOLE[:9]),
        ("gzip", WHOLE[:-8] + bytes(8)),
        ("gzip", WHOLE + b"garbage"),
        ("gzip", WHOLE + WHOLE[:15]),
        ("gzip", zlib.compress(b"hello")),
        ("deflate", WHOLE),
        ("deflate", zlib.compress(b"hello") + b"x"),
    ],
    ids=range(9),
)
def test_a_damaged_compressed_body_is_refused(server: Server, name: str, content: bytes) -> None:
    assert refused(ask(server, **compressed(content, name)), 400, f"no whole {name}: ")
    assert server.load.bytes == server.load.requests == 0


def test_a_bomb_is_cut_off_at_the_limit_and_never_decompressed_further(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    plain = coding.Decoder.decoded

    async def counted(self: coding.Decoder, data: bytes) -> Any:
        nonlocal seen
        async for step in plain(self, data):
            assert len(step) <= coding.STEP
            seen += len(step)
            yield step

    monkeypatch.setattr(coding.Decoder, "decoded", counted)
    for bomb, name in ((gzip.compress(bytes(200_000_000)), "gzip"), (zlib.compress(bytes(200_000_000)), "deflate")):
        seen = 0
        assert len(bomb) < 250_000
        assert refused(ask(server, **compressed(bomb, name)), 413, "larger than 1 MB")
        assert seen <= 1_000_000 + coding.STEP
        assert server.load.bytes == 0


def test_a_compressed_body_may_not_be_longer_than_a_plain_one(server: Server) -> None:
    empty = gzip.compress(b"")
    nothing = empty[:10] + b"\0\0\0\xff\xff" * 200_000  # stored blocks that hold nothing
    assert refused(ask(server, **compressed(nothing[:999_999], "gzip")), 400, "cut short")

    async def endless(client: httpx2.AsyncClient) -> httpx2.Response:
        async def chunks() -> Any:
            yield nothing[:600_010]
            yield nothing[10:600_010]

        return await client.post("/v1/predict", content=chunks(), headers={**JSON_HEAD, "content-encoding": "gzip"})

    assert refused(talk(server, endless), 413, "larger than 1 MB")
    members = empty * (coding.MEMBERS + 1)
    assert refused(ask(server, **compressed(members, "gzip")), 413, "more than 4,096 members")


CONTENT = bytes(random.Random(0).randbytes(400))
STANDARD = base64.b64encode(CONTENT).decode()
SAFE = base64.urlsafe_b64encode(CONTENT).decode()


@pytest.mark.parametrize(
    "text",
    [
        STANDARD,
        SAFE,
        STANDARD.rstrip("="),
        SAFE.rstrip("="),
        base64.encodebytes(CONTENT).decode(),
        base64.encodebytes(CONTENT).decode().replace("\n", "\r\n"),
        f"  {STANDARD[:7]} \t{STANDARD[7:]}\r\n",
        STANDARD.replace("=", "\r\n="),
        f"data:image/png;base64,{STANDARD}",
        f"DATA:IMAGE/PNG;BASE64,{STANDARD}",
        f"data:image/jpeg;name=a.jpg;charset=utf-8;base64,{SAFE}",
        f"data:image/png; base64,{STANDARD}",
        f"data:;base64,{STANDARD}",
        f"data:application/octet-stream;base64,{STANDARD}",
        f"\n data:image/webp;base64,\r\n{base64.encodebytes(CONTENT).decode()}",
    ],
    ids=lambda text: text[:24],
)
def test_base64_is_read_however_it_is_written(text: str) -> None:
    assert {"+", "/"} <= set(STANDARD)
    assert len(CONTENT) % 3
    assert from_base64(text, "it") == CONTENT


@pytest.mark.parametrize("length", range(7))
def test_base64_of_any_length_is_read_with_and_without_padding(length: int) -> None:
    text = base64.b64encode(CONTENT[:length]).decode()
    assert from_base64(text, "it") == from_base64(text.rstrip("="), "it") == CONTENT[:length]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a", "no base64"),
        ("aGk==", "no base64"),
        ("aG=k", "no base64"),
        ("====", "no base64"),
        ("aGk=aGk=", "no base64"),
        ("+-aa", "no base64"),
        ("aGkä", "no base64"),
        ("aG\x00k", "no base64"),
        ("aGk%3D", "percent-encoded"),
        ("data:image/png;base64,aGk%3D", "percent-encoded"),
        ("data:image/png,%89PNG", "not in base64"),
        ("data:image/png;base64", "without a comma"),
        ("data:text/html;base64,aGk=", "'text/html'"),
        (" https://example.org/a.png", "none is followed"),
        ("FILE:///etc/passwd", "none is followed"),
    ],
)
def test_what_is_no_base64_is_refused_with_its_reason(text: str, said: str) -> None:
    with pytest.raises(Refused, match=said) as caught:
        from_base64(text, "images[0]")
    assert caught.value.status == 422
    assert caught.value.hint


def test_as_many_data_urls_as_images_are_taken_and_no_more(server: Server) -> None:
    text = "data:image/png;base64," + base64.encodebytes(png(picture(1))).decode()
    assert len(ask(server, json={"images": [text] * 3}).json()["predictions"]) == 3
    assert refused(ask(server, json={"images": [text] * 4}), 413, "more than 3 pictures")
    assert refused(ask(server, json={"images": ["aGk="] * 5}), 413, "more than 3 pictures")
