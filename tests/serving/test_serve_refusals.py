"""What is wrong with a request is said in JSON, with how to fix it."""

import asyncio
import io
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2

from allmlp.cli import main
from allmlp.errors import AllmlpError
from allmlp.serving.app import Server
from allmlp.serving.limits import Limits
from talk import ask, encoded, form, png, talk

BAD = sorted(p for p in (Path(__file__).parent.parent / "bad-images").iterdir() if p.name != "LICENSE")
FORM = {"content-type": "multipart/form-data; boundary=x"}
PART = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'


def refused(answer: httpx2.Response, status: int, *words: str) -> bool:
    said = answer.json()
    assert set(said) == {"error", "hint"}
    assert said["hint"]
    assert answer.status_code == status, said
    assert all(word in said["error"] for word in words), said
    return True


@pytest.fixture(scope="module")
def server(weights: Path) -> Server:
    from allmlp.serving.served import Source

    return Server(Source(run=str(weights), engine="eager"), limits=Limits(images=3, waiting=3, megabytes=1, pixels=10_000))


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
def test_a_damaged_picture_is_named_and_the_server_goes_on(server: Server, path: Path) -> None:
    answer = ask(server, files=form(png(picture(1)), path.read_bytes()))
    assert answer.status_code in (413, 422)
    assert refused(answer, answer.status_code, "images[1] cannot be read: ")
    assert str(path) not in answer.text


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (dict(content=b"x", headers={"content-type": "text/plain"}), 415, "text/plain"),
        (dict(content=b"x"), 415, "no content type"),
        (dict(json={}), 422, "of the form"),
        (dict(json={"images": []}), 400, "no picture"),
        (dict(json={"images": "abc"}), 422, "of the form"),
        (dict(json={"images": [3]}), 422, "images[0] is no text"),
        (dict(json={"images": ["ä"]}), 422, "images[0] is no base64"),
        (dict(json={"images": ["https://example.org/a.png"]}), 422, "none is followed"),
        (dict(json={"images": ["aGk="]}), 422, "images[0] cannot be read"),
        (dict(json={"images": ["aGk="] * 4}), 413, "more than 3 pictures"),
        (dict(content=b"[" * 100_000, headers={"content-type": "application/json"}), 400, "no JSON"),
        (dict(content=b"\xff", headers={"content-type": "application/json"}), 400, "no JSON"),
        (dict(content=b"", headers=FORM), 400, "ends before its last boundary"),
        (dict(content=b"hello", headers=FORM), 400, "not understood"),
        (dict(content=b"x", headers={"content-type": "multipart/form-data"}), 400, "not understood"),
        (dict(content=PART + png(picture(1))[:50], headers=FORM), 400, "ends before its last boundary"),
        (dict(content=PART + png(picture(1)) + b"\r\n--x--\r\n", headers=FORM), 200, ""),
        (dict(content=PART + b"\r\n" + PART + b"\r\n--x--\r\n", headers=FORM), 422, "the file is empty"),
        (dict(content=b"--x--\r\n", headers=FORM), 400, ""),
        (dict(files=[("file", b"x")]), 422, "a part of the form is named 'file'"),
        (dict(files=form(*[b"x"] * 4)), 413, "more than 3 pictures"),
        (dict(content=b"x" * 1_000_001, headers=FORM), 413, "larger than 1 MB"),
        (dict(files=form(png(picture(1, (101, 100))))), 413, "101 × 100 pixels are more than 10,000"),
    ],
)
def test_a_malformed_request_is_told_what_to_fix(server: Server, words: dict[str, Any], status: int, said: str) -> None:
    answer = ask(server, **words)
    assert answer.status_code == 200 == status or refused(answer, status, said)


@pytest.mark.parametrize("query", ["top=0", "top=x", "top=-1", "top=1.5"])
def test_a_query_that_cannot_be_is_named(server: Server, query: str) -> None:
    assert refused(ask(server, path=f"/v1/predict?{query}", files=form(png(picture(1)))), 422, "top: ")


def test_no_answer_leads_where_the_host_header_says(server: Server) -> None:
    answer = ask(server, "GET", "/v1/model/", headers={"host": "elsewhere.example"})
    assert refused(answer, 404, "nothing at /v1/model/")


def test_json_of_millions_of_values_is_refused_before_it_is_read(server: Server) -> None:
    sent = b'{"images": [' + b"{}," * 300_000  # which ends too early: reading it would find that
    assert refused(ask(server, content=sent, headers={"content-type": "application/json"}), 413, "more than 3 pictures")


def test_nonsense_in_a_form_leaves_nothing_on_stderr() -> None:
    code = "from allmlp.serving.pictures import pictures_of\npictures_of('multipart/form-data; boundary=x', b'hello', most=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.count("Expected boundary") == 1, "the refusal alone"


def test_what_is_not_there_and_other_methods(server: Server) -> None:
    assert refused(ask(server, "GET", "/etc/passwd"), 404, "nothing at /etc/passwd")
    answer = ask(server, "GET", "/v1/predict")
    assert refused(answer, 405, "GET is not for /v1/predict")
    assert answer.headers["allow"] == "POST"


def huge_png(side: int) -> bytes:
    """A few bytes that declare side × side pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_a_picture_that_declares_too_many_pixels_is_never_decoded(server: Server) -> None:
    assert refused(ask(server, files=form(huge_png(20_000))), 422, "400000000 pixels")


def test_a_body_that_grows_without_a_declared_length_is_cut_off(server: Server) -> None:
    async def endless(client: httpx2.AsyncClient) -> tuple[httpx2.Response, int]:
        sent = 0

        async def chunks() -> Any:
            nonlocal sent
            for _ in range(1000):
                sent += 10_000
                yield b"x" * 10_000

        return await client.post("/v1/predict", content=chunks(), headers=FORM), sent

    answer, _ = talk(server, endless)
    assert refused(answer, 413, "larger than 1 MB")
    assert server.load.bytes == server.load.requests == 0


def test_more_images_than_may_wait_are_told_to_come_again(server_of: Callable[..., Server]) -> None:
    server = server_of(images=2, waiting=2)

    async def three(client: httpx2.AsyncClient) -> list[httpx2.Response]:
        with server.load.room(1):
            one, two = [await client.post("/v1/predict", files=form(*[png(picture(1))] * n)) for n in (1, 2)]
        return [one, two, await client.post("/v1/predict", files=form(*[png(picture(1))] * 2))]

    one, two, three_ = talk(server, three)
    assert (one.status_code, three_.status_code) == (200, 200)
    assert refused(two, 503, "1 images wait")
    assert two.headers["retry-after"] == "1"


def test_more_requests_than_may_be_under_way_are_told_to_come_again(server_of: Callable[..., Server]) -> None:
    server = server_of(requests=1)

    async def two(client: httpx2.AsyncClient) -> httpx2.Response:
        with server.load.request():
            return await client.get("/v1/model")

    assert refused(talk(server, two), 503, "1 requests are under way")


def test_an_answer_that_takes_too_long_is_given_up(server_of: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    server = server_of(answer_seconds=0.05)
    started = threading.Event()
    plain = server.holder.current.batcher.answer

    def slow(images: torch.Tensor) -> Any:
        started.wait(0.5)
        return plain(images)

    monkeypatch.setattr(server.holder.current.batcher, "answer", slow)
    assert refused(ask(server, files=form(png(picture(1)))), 503, "no answer within 0.05 s")
    assert server.load.images == 0


def test_a_model_that_fails_is_a_fault_of_the_server_and_the_next_request_is_answered(
    server_of: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = server_of()
    batcher = server.holder.current.batcher
    failures: Iterator[bool] = iter([True, False])
    plain = batcher.answer

    def sometimes(images: torch.Tensor) -> Any:
        if next(failures):
            raise RuntimeError("out of everything")
        return plain(images)

    monkeypatch.setattr(batcher, "answer", sometimes)

    async def twice(client: httpx2.AsyncClient) -> int:
        with pytest.raises(RuntimeError, match="out of everything"):  # which uvicorn logs
            await client.post("/v1/predict", files=form(png(picture(1))))
        return (await client.post("/v1/predict", files=form(png(picture(1))))).status_code

    assert talk(server, twice) == 200


def test_the_key_is_asked_of_all_that_has_to_do_with_the_model(server_of: Callable[..., Server]) -> None:
    server, content = server_of(key="secret"), encoded(png(picture(1)))
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}, {"x-api-key": ""}):
        answer = ask(server, json=content, headers=headers)
        assert refused(answer, 401, "the key is missing or wrong")
        assert answer.headers["www-authenticate"] == "Bearer"
        assert ask(server, "GET", "/metrics", headers=headers).status_code == 401
    for headers in ({"authorization": "bearer secret"}, {"x-api-key": "secret"}):
        assert ask(server, json=content, headers=headers).status_code == 200
    assert ask(server, "GET", "/healthz").status_code == 200


def test_a_system_without_its_signals_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delattr(signal, "SIGHUP")  # as on Windows
    assert main(["serve", "somewhere"]) == 2
    assert "serve needs signals" in capsys.readouterr().err


def test_limits_that_cannot_be_are_refused() -> None:
    for words in (dict(images=0), dict(pixels=10**12), dict(images=3, waiting=2), dict(body_seconds=-1)):
        with pytest.raises(AllmlpError, match=r"limit|one request"):
            Limits(**words)


def test_the_log_has_a_line_for_each_request_and_nothing_of_the_pictures(weights: Path) -> None:
    from allmlp.serving.journal import Journal
    from allmlp.serving.served import Source

    file = io.StringIO()
    server = Server(Source(run=str(weights), engine="eager"), journal=Journal(file))
    ask(server, files=form(png(picture(1))))
    ask(server, json={"images": ["secret"]})
    one, two = [json.loads(line) for line in file.getvalue().splitlines()]
    assert (one["status"], two["status"], one["path"]) == (200, 422, "/v1/predict")
    assert set(one) == {"time", "event", "method", "path", "status", "ms", "bytes", "client"}


def test_a_log_that_takes_no_more_loses_lines_and_no_requests(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from allmlp.serving.journal import Journal
    from allmlp.serving.served import Source

    ascii_only = io.BytesIO()
    server = Server(
        Source(run=str(weights), engine="eager"), journal=Journal(io.TextIOWrapper(ascii_only, "ascii", write_through=True))
    )
    assert ask(server, "GET", "/käse🧀").status_code == 404
    assert json.loads(ascii_only.getvalue())["path"] == "/käse🧀"
    full = os.open("/dev/full", os.O_WRONLY)
    server.journal.file = io.TextIOWrapper(io.FileIO(full, "w"), "ascii", write_through=True)  # type: ignore[arg-type]
    assert [ask(server, files=form(png(picture(1)))).status_code for _ in range(3)] == [200] * 3
    assert server.journal.lost == 3
    assert capsys.readouterr().err.count("lines of the log are lost") == 1


def test_a_loop_that_ended_before_its_answer_leaves_the_batcher_working() -> None:
    from allmlp.serving.batcher import Batcher

    slowly = threading.Event()

    def answer(images: torch.Tensor) -> Any:
        slowly.wait(5)
        return images.flatten(1).numpy()

    batcher = Batcher(answer, most=1)

    async def leave() -> None:
        asked = asyncio.ensure_future(batcher.ask([torch.zeros(1, 1, 1)]))
        await asyncio.sleep(0.05)
        asked.cancel()

    asyncio.run(leave())
    slowly.set()
    assert len(asyncio.run(asyncio.wait_for(batcher.ask([torch.ones(1, 1, 1)]), 5))) == 1


def test_asking_the_batcher_and_going_away_leaves_others_alone(server_of: Callable[..., Server]) -> None:
    batcher = server_of().holder.current.batcher

    async def both() -> int:
        image = torch.zeros(3, 8, 8)
        gone, stays = (asyncio.ensure_future(batcher.ask([image])) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        return len(await stays)

    assert asyncio.run(both()) == 1
