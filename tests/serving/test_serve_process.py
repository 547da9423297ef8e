"""A server in a process of its own: signals, slow clients, and what is no HTTP."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from helpers import picture

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import httpx2
from talk import form, png

Process = Callable[..., tuple[subprocess.Popen[str], int]]
pytestmark = pytest.mark.slow


def said(port: int, sent: bytes, wait: float = 10, *, end: bool = False) -> bytes:
    """All that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as client:
        client.sendall(sent)
        if end:
            client.shutdown(socket.SHUT_WR)
        found = b""
        while part := client.recv(65_536):
            found += part
        return found


def test_sigterm_answers_what_is_under_way_and_takes_no_more(process: Process) -> None:
    server, port = process("--batch", "1")
    url, content = f"http://127.0.0.1:{port}", png(picture(1))
    answered, refused = [], []
    ends = threading.Event()

    def client() -> None:
        with httpx2.Client(base_url=url, timeout=30) as talk:
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
        assert server.wait(timeout=30) == 0
        ends.set()
    assert set(answered) == {200}
    assert len(refused) <= 8
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port))


def test_a_body_that_stops_half_way_is_answered_or_closed_and_stalls_nobody(process: Process) -> None:
    _, port = process()
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    assert said(port, head + b"Content-Length: 1000\r\n\r\n--x", end=True) == b""
    late = said(port, head + b"Content-Length: 100000000\r\n\r\n" + b"x" * 1000)
    assert late.startswith(b"HTTP/1.1 413 ")
    assert json.loads(late.partition(b"\r\n\r\n")[2])["mend"]
    assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


@pytest.mark.parametrize(
    "sent",
    [b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00"],
)
def test_what_is_no_http_gets_a_400_in_json(process: Process, sent: bytes) -> None:
    _, port = process()
    found = said(port, sent, end=True)
    assert found.startswith(b"HTTP/1.1 400 ")
    assert json.loads(found.partition(b"\r\n\r\n")[2])["error"] == "this is no HTTP/1.1 request"
