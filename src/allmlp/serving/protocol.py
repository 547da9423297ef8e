"""uvicorn's connections, with the deadlines and the bounds that it does not have."""

from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from allmlp.serving.limits import Limits
from allmlp.serving.refused import Refused, busy
from allmlp.strict_json import to_json

MOST_HEADERS = 65_536
"""Bytes."""
MOST_PIPELINED = 100
"""Requests that a connection may send before the first of them is answered."""


def protocol(limits: Limits) -> type[HttpToolsProtocol]:
    """The class that uvicorn makes one of for each connection."""

    class Watched(HttpToolsProtocol):
        """Closes connections whose next request never gets through its headers, or whose client never reads its answer, and
        answers in JSON what is no HTTP."""

        timer: TimerHandle | None = None
        unread: TimerHandle | None = None
        hasty = False
        came = 0
        """Bytes that came since headers were whole or a part of a body was there: of headers, trailers, chunks' extensions."""

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=0)  # so that any answer that the client does not read has its deadline
            if len(self.connections) > limits.connections:
                self._refuse(busy(f"{limits.connections} connections are open"))
                return
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            self.resume_writing()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self.came += len(data)
            super().data_received(data)
            if self.came > MOST_HEADERS:
                self._refuse(Refused(431, f"the headers are longer than {MOST_HEADERS} bytes", hint="send fewer"))
            elif not self._waits():
                self._rest()
            elif not self.transport.is_closing():
                self._watch()

        def on_headers_complete(self) -> None:
            self.came = 0
            if len(self.pipeline) >= MOST_PIPELINED:
                self.hasty = True
                raise ValueError  # which ends the parsing, and leads to send_400_response
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.pipeline:  # uvicorn reads on, and holds whatever comes
                self.flow.pause_reading()

        def on_body(self, body: bytes) -> None:
            self.came = 0
            super().on_body(body)

        def eof_received(self) -> Any:  # asyncio takes a bool, uvicorn says None
            """A client that sends no more may still read: keep the connection for the answer to what came whole."""
            answers = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
            if answers:
                self.cycle.keep_alive = False
            return answers

        def pause_writing(self) -> None:
            super().pause_writing()
            self.unread = self.loop.call_later(limits.answer_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self.unread is not None:
                self.unread.cancel()
                self.unread = None

        def send_400_response(self, msg: str) -> None:
            if self.hasty:
                what = f"more than {MOST_PIPELINED} requests of one connection wait for their turn"
                self._refuse(Refused(429, what, hint="wait for answers"))
                return
            self._refuse(Refused(400, "this is no HTTP/1.1 request", hint="send one"))

        def _waits(self) -> bool:
            """For the headers of a request."""
            return self.cycle is None or self.cycle.response_complete

        def _watch(self) -> None:
            if self.timer is None:
                self.timer = self.loop.call_later(limits.headers_seconds, self._late)

        def _rest(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

        def _late(self) -> None:
            if not self.transport.is_closing():
                self._refuse(Refused(408, "the headers did not come in time", hint="send a request"))

        def _refuse(self, refused: Refused) -> None:
            """Answer without an application, and close."""
            body = to_json(refused.body()).encode()
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
