"""A server in a process of its own: signals, slow clients, and what is no HTTP."""

import gzip
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2

from servers import Servers, hears
from talk import FORM_HEAD, form, png, posted

pytestmark = pytest.mark.slow


def said(port: int, sent: bytes, wait: float = 120, *, end: bool = False) -> bytes:
    """All that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as client:
        client.sendall(sent)
        if end:
            client.shutdown(socket.SHUT_WR)
        found = b""
        while part := client.recv(65_536):
            found += part
        return found


def test_sigterm_answers_what_is_under_way_and_takes_no_more(process: Servers) -> None:
    server, port = process("--batch", "1")
    url, content = f"http://127.0.0.1:{port}", png(picture(1))
    answered, refused = [], []
    ends = threading.Event()

    def client() -> None:
        with httpx2.Client(base_url=url, timeout=300) as talk:
            while not ends.is_set():
                try:
                    answered.append(talk.post("/v1/predict", files=form(*[content] * 16)).status_code)
                except httpx2.ConnectError:
                    refused.append(1)
                    return
                except httpx2.TransportError as error:  # an idle connection that was closed as it was used again
                    refused.append(error)
                    return

    with ThreadPoolExecutor(8) as pool:
        for _ in range(8):
            pool.submit(client)
        while len(answered) < 20:
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=600) == 0
        ends.set()
    assert set(answered) == {200}
    assert len(refused) <= 8
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


@pytest.fixture(scope="module")
def port(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of one server for all tests that leave it as it is; it waits for nothing longer than a second."""
    folder = tmp_path_factory.mktemp("impatient")
    (folder / "serve.py").write_text(IMPATIENT)
    server = subprocess.Popen([sys.executable, folder / "serve.py", weights], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    yield next(int(line) for line in server.stderr if line.strip().isdigit())
    server.kill()
    server.wait()
    server.stderr.close()


IMPATIENT = """
import sys
from allmlp.serving.app import Server
from allmlp.serving.limits import Limits
from allmlp.serving.served import Source
from allmlp.serving.server import run

limits = Limits(headers_seconds=3, body_seconds=3, answer_seconds=60, connections=20, megabytes=1)
server = Server(Source(run=sys.argv[1], engine="eager"), limits=limits)
run(server, host="127.0.0.1", port=0, ready=lambda address: print(address.split(":")[-1], file=sys.stderr, flush=True))
"""


def refused(found: bytes, status: int) -> str:
    """What is wrong, as the first answer says."""
    assert found.startswith(b"HTTP/1.1 %d " % status), found
    said = json.loads(found.partition(b"\r\n\r\n")[2])
    assert said["hint"]
    return str(said["error"])


def test_a_client_that_goes_away_half_way_through_its_body_troubles_nobody(port: int) -> None:
    assert said(port, FORM_HEAD + b"Content-Length: 1000\r\n\r\n--x", end=True) == b""
    assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_a_client_that_has_nothing_more_to_send_is_answered(port: int) -> None:
    found = said(port, 3 * posted(png(picture(1))), end=True)
    assert found.count(b"HTTP/1.1 200 OK") == found.count(b'"predictions"') == 3


@pytest.mark.parametrize("tail", [b"0\r\nA: ", b"1;"])
def test_a_body_has_no_room_for_endless_trailers_or_extensions(port: int, tail: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
        client.sendall(FORM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + tail)
        time.sleep(0.3)
        client.sendall(b"a" * 70_000)
        assert "headers are longer" in refused(client.recv(65_536), 431)


def test_sigterm_while_it_starts_ends_it_and_sighup_does_not(process: Servers) -> None:
    server = process.begin()
    while not hears(server, signal.SIGTERM):
        time.sleep(0.01)
    server.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=600) == 0
    assert server.stderr is not None
    assert "Traceback" not in server.stderr.read()


IN_A_DESTRUCTOR = """
import signal, time
from allmlp.serving.ending import endable

class Ended:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

with endable():
    Ended()
    time.sleep(3600)
"""


def test_sigterm_in_a_destructor_ends_it_too() -> None:
    assert (
        subprocess.run([sys.executable, "-c", IN_A_DESTRUCTOR], capture_output=True, check=False, timeout=600).returncode == 0
    )


@pytest.mark.parametrize("length", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"])
def test_a_body_that_stops_half_way_is_given_up(port: int, length: bytes) -> None:
    sent = b"--x" if length.startswith(b"Content") else b"3\r\n--x\r\n"
    assert refused(said(port, FORM_HEAD + length + b"\r\n\r\n" + sent), 408) == "the body did not come in time"


def test_a_body_that_comes_byte_by_byte_is_given_up(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
        client.sendall(FORM_HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(4000):
            time.sleep(0.05)
            try:
                client.sendall(b"-")
            except OSError:
                break
        else:
            raise AssertionError("nobody minded")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: "])
def test_headers_that_do_not_come_are_given_up(port: int, sent: bytes) -> None:
    assert refused(said(port, sent), 408) == "the headers did not come in time"


def test_headers_without_end_are_cut_off(port: int) -> None:
    assert "headers are longer" in refused(said(port, b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000), 431)


def test_a_body_that_is_too_large_is_refused_while_it_is_still_being_sent(port: int) -> None:
    found = httpx2.post(f"http://127.0.0.1:{port}/v1/predict", files=form(b"x" * 50_000_000))
    assert (found.status_code, found.json()["error"]) == (413, "the body is larger than 1 MB")
    late = said(port, FORM_HEAD + b"Content-Length: 100000000\r\n\r\n" + b"x" * 1000)
    assert refused(late, 413) == "the body is larger than 1 MB"


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00"],
)
def test_what_is_no_http_gets_a_400_in_json(port: int, sent: bytes) -> None:
    assert refused(said(port, sent, end=True), 400) == "this is no HTTP/1.1 request"


def test_more_connections_than_are_held_are_told_to_come_again(port: int) -> None:
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    try:
        time.sleep(0.2)
        assert "20 connections are open" in refused(said(port, b""), 503)
    finally:
        for one in held:
            one.close()


def test_head_leaves_the_connection_as_it_is(port: int) -> None:
    asked = b"HEAD /v1/model HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    found = said(port, asked)
    assert found.count(b"HTTP/1.1 200 OK") == 3
    assert found.endswith(b'\r\n\r\n{"status":"ok"}')
    assert b"classes" not in found


def test_a_compressed_body_in_chunks_is_answered_and_a_bomb_is_cut_off(port: int) -> None:
    content = b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\n' + png(picture(1)) + b"\r\n--x--\r\n"
    for body, status in ((content, b"200 OK"), (bytes(100_000_000), b"413 ")):
        packed = gzip.compress(body)
        pieces = [packed[i : i + 5000] for i in range(0, len(packed), 5000)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        head = FORM_HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        assert said(port, head + chunks).startswith(b"HTTP/1.1 " + status)


def test_who_asks_before_sending_is_told_to_go_on_or_what_is_wrong(port: int) -> None:
    head, _, body = posted(png(picture(1)), b"Expect: 100-continue\r\nConnection: close\r\n").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    found = said(port, head + b"\r\nContent-Encoding: br\r\n\r\n")
    assert "'br'" in refused(found, 415)
    assert b"accept-encoding: gzip, deflate\r\n" in found


@pytest.mark.parametrize("length", [b"-1", b"x", b"+5", b"5, 6", b"1" * 30])
def test_a_length_that_cannot_be_is_no_request(port: int, length: bytes) -> None:
    assert said(port, FORM_HEAD + b"Content-Length: " + length + b"\r\n\r\nhello")[9:12] in (b"400", b"413")
    twice = FORM_HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert refused(said(port, twice), 400)
