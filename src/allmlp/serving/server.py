"""The process: an address, signals, and an end without a request lost."""

import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from allmlp.errors import AllmlpError
from allmlp.serving.app import Server
from allmlp.serving.journal import Journal, ServerLog
from allmlp.serving.limits import Limits
from allmlp.serving.protocol import uvicorn_words


def run(server: Server, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; then take no more, and answer what is under way.

    port: 0 for any free one. ready: told the address once there is one. Raises AllmlpError where it cannot be had.
    """
    with _listening(host, port, server.limits) as listener, _logged(server.journal), _terminable():
        config = uvicorn.Config(server.app, **uvicorn_words(server.limits))
        name, number = listener.getsockname()[:2]
        ready(f"http://{f'[{name}]' if ':' in name else name}:{number}")
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])


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
        raise AllmlpError(f"{host} port {port} cannot be served: {why}", mend="choose another --port or --host") from None


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


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """uvicorn raises the signal that ended it again; after a clean end, SIGTERM is no death."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
