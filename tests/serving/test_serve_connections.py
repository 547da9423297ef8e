"""What a connection may keep the server from forgetting: answers that are never read, requests that never end."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="allmlp[serve] brings it")

import uvicorn

from allmlp.serving.limits import Limits
from allmlp.serving.protocol import MOST_PIPELINED, uvicorn_words

ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def with_server(size: int, action: Callable[[uvicorn.Server, socket.socket], Awaitable[None]]) -> None:
    """A server whose answers have so many bytes, and a client's socket that is connected to it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % size)]})
        await send({"type": "http.response.body", "body": bytes(size)})

    async def run() -> None:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", **uvicorn_words(Limits(answer_seconds=3))))
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, listener.getsockname())
            await action(server, client)
            server.should_exit = True
            await serving

    asyncio.run(run())


def test_a_client_that_never_reads_its_answer_is_let_go() -> None:
    async def never_reads(server: uvicorn.Server, client: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(client, ASKED)
        for seen in (True, False):
            async with asyncio.timeout(300):
                while bool(server.server_state.connections) != seen:
                    await asyncio.sleep(0.01)
        assert not server.server_state.tasks

    with_server(30_000_000, never_reads)


def test_no_connection_makes_the_server_hold_requests_without_end() -> None:
    async def hasty(server: uvicorn.Server, client: socket.socket) -> None:
        loop, found = asyncio.get_running_loop(), b""
        await loop.sock_sendall(client, ASKED * (MOST_PIPELINED + 50))
        while part := await loop.sock_recv(client, 65_536):
            found += part
        assert b"HTTP/1.1 429 " in found

    with_server(10, hasty)


def test_requests_that_come_together_are_answered_one_after_the_other() -> None:
    async def patient(server: uvicorn.Server, client: socket.socket) -> None:
        loop, found = asyncio.get_running_loop(), b""
        await loop.sock_sendall(client, ASKED * MOST_PIPELINED)
        while found.count(b"HTTP/1.1 200 OK") < MOST_PIPELINED:
            found += await loop.sock_recv(client, 65_536)

    with_server(10, patient)
