"""The process: an address, signals, and an end without a request lost."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import uvicorn

from allmlp.errors import AllmlpError
from allmlp.serving.app import Server
from allmlp.serving.ending import told
from allmlp.serving.journal import Journal, ServerLog
from allmlp.serving.limits import Limits
from allmlp.serving.protocol import uvicorn_words

SETTLE = 0.1
"""Seconds between SIGTERM and the closed door: whoever had sent a request before is heard."""
SPARE = 64
"""Files that are open besides connections, at most."""


def run(server: Server, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; then take no more, and answer what is under way.

    port: 0 for any free one. ready: told the address once there is one. Raises AllmlpError where it cannot be had.
    """
    limits = replace(server.limits, connections=_affordable(server.limits.connections))
    with _listening(host, port, limits) as listener, _logged(server.journal):
        ours = _Uvicorn(uvicorn.Config(server.app, **uvicorn_words(limits)))
        name, number = listener.getsockname()[:2]
        with contextlib.suppress(KeyboardInterrupt), _heard(ours):
            ready(f"http://{f'[{name}]' if ':' in name else name}:{number}")
            ours.run(sockets=[listener])


class _Uvicorn(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.sleep(SETTLE)  # uvicorn hangs up on idle connections, unread requests and all
        await super().shutdown(sockets)


@contextlib.contextmanager
def _heard(ours: _Uvicorn) -> Iterator[None]:
    """SIGTERM before uvicorn listens to it ends it, too; and uvicorn raises it again: after a clean end it is no death."""
    ended = False

    def end(number: int, frame: Any) -> None:
        nonlocal ended
        ours.should_exit = ended = True

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        if ended:
            told()
        else:
            signal.signal(signal.SIGTERM, before)


def _affordable(connections: int) -> int:
    """As many as this process may hold; what it may hold is raised to them as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, most - SPARE)


def _listening(host: str, port: int, limits: Limits) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(limits.connections)  # so that whoever is told the address can come
        return listener
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise AllmlpError(f"{host} port {port} cannot be served: {why}", hint="choose another --port or --host") from None


@contextlib.contextmanager
def _logged(journal: Journal) -> Iterator[None]:
    """What uvicorn says goes into the journal."""
    log, handler = logging.getLogger("uvicorn"), ServerLog(journal)
    log.addHandler(handler)
    before, log.propagate = log.propagate, False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.propagate = before
