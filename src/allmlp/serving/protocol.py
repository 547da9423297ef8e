"""uvicorn's connections, with the deadline for headers and the bounds that it does not have."""

import json
from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from allmlp.serving.limits import Limits
from allmlp.serving.refused import Refused, busy

MOST_HEADERS = 65_536
"""Bytes."""


def protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class that uvicorn makes one of for each connection."""

    class Watched(HttpToolsProtocol):
        """Closes connections whose next request never gets through its headers, and answers in JSON what is no HTTP."""

        timer: TimerHandle | None = None
        came = 0
        """Bytes since headers are waited for."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._refuse(busy(f"{limits.connections} connections are open"))
                return
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if not self._waits():
                self._rest()
                return
            self.came += len(data)
            if self.came > MOST_HEADERS:
                self._refuse(Refused(431, f"the headers are longer than {MOST_HEADERS} bytes", mend="send fewer"))
            elif not self.transport.is_closing():
                self._watch()

        def send_400_response(self, msg: str) -> None:
            self._refuse(Refused(400, "this is no HTTP/1.1 request", mend="send one"))

        def _waits(self) -> bool:
            """For the headers of a request."""
            return self.cycle is None or self.cycle.response_complete

        def _watch(self) -> None:
            if self.timer is None:
                self.timer = self.loop.call_later(limits.headers_seconds, self._late)

        def _rest(self) -> None:
            self.came = 0
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def _late(self) -> None:
            if not self.transport.is_closing():
                self._refuse(Refused(408, "the headers did not come in time", mend="send a request"))

        def _refuse(self, refused: Refused) -> None:
            """Answer without an application, and close."""
            body = json.dumps(refused.body()).encode()
            headers = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
            lines = [f"{name}: {value}" for name, value in {**headers, **refused.headers()}.items()]
            head = "\r\n".join([f"HTTP/1.1 {refused.status} {HTTPStatus(refused.status).phrase}", *lines, "", ""])
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Watched


def uvicorn_words(limits: Limits) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "http": protocol(limits),
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "backlog": limits.connections,
        "timeout_graceful_shutdown": int(limits.drain_seconds + 0.999),
    }
