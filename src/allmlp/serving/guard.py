"""What every request passes first and last: the key, the limits, the deadline of its body, the record of it."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from starlette.responses import JSONResponse

from allmlp.serving.coding import Decoder, decoder_of
from allmlp.serving.journal import Journal
from allmlp.serving.limits import Limits, Load, Received
from allmlp.serving.metrics import Metrics
from allmlp.serving.refused import Refused

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LINGER = 2.0
"""Seconds for which the rest of a refused body is read and thrown away: a client that is still sending would otherwise see
its connection break before it sees the answer."""
ALIVE = "/healthz"
"""Answered however busy the server is: who asks would end it otherwise."""
LOCKED = ("/v1/", "/metrics")
"""Paths that ask for the key, where there is one."""


def refusal(refused: Refused) -> JSONResponse:
    """The answer that says so."""
    return JSONResponse(refused.body(), refused.status, headers=refused.headers())


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: App, *, limits: Limits, load: Load, metrics: Metrics, journal: Journal, key: str | None) -> None:
        self.app, self.limits, self.load = app, limits, load
        self.metrics, self.journal = metrics, journal
        self.key = None if key is None else key.encode(errors="surrogateescape")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(dict(scope["headers"]), receive, send, self.limits.body_seconds)
        if scope["method"] == "HEAD":  # whatever GET would be answered, without the body
            scope, exchange.bodiless = {**scope, "method": "GET"}, True
        try:
            with self.load.request(always=scope["path"] == ALIVE) as exchange.received:
                exchange.received.declared(exchange.length)
                self._identified(scope["path"], exchange.headers)
                exchange.decoder = None if exchange.whole else decoder_of(scope["headers"])
                await self.app(scope, exchange.receive, exchange.send)
        except Refused as refused:
            await refusal(refused)(scope, exchange.receive, exchange.send)
        finally:
            self._record(scope, exchange)
        await exchange.finish()

    def _identified(self, path: str, headers: dict[bytes, bytes]) -> None:
        if self.key is None or not path.startswith(LOCKED):
            return
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        given = given.strip() if kind.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        if not hmac.compare_digest(given, self.key):
            raise Refused(401, "the key is missing or wrong", hint='send the header "Authorization: Bearer KEY"')

    def _record(self, scope: Scope, exchange: "Exchange") -> None:
        seconds = time.monotonic() - exchange.began
        path = getattr(scope.get("route"), "path", "other")
        status = exchange.status or 499  # the client went away, as nginx calls it
        self.metrics.requests.labels(path, status).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        came = exchange.received.bytes if exchange.received else 0
        words = {"method": "HEAD" if exchange.bodiless else scope["method"], "path": scope["path"][:200], "status": status}
        client = (scope.get("client") or ("",))[0]
        self.journal.line("request", **words, ms=round(1000 * seconds, 1), bytes=came, client=client)


class Exchange:
    """One request and its answer, on their way through."""

    def __init__(self, headers: dict[bytes, bytes], receive: Receive, send: Send, seconds: float) -> None:
        self.headers, self._receive, self._send = headers, receive, send
        self.began = time.monotonic()
        self.deadline = asyncio.get_running_loop().time() + seconds
        self.length = int(headers.get(b"content-length", b"0") or 0)
        self.received: Received | None = None
        self.whole = not self.length and b"transfer-encoding" not in headers
        self.status = 0
        self.held = self.bodiless = False
        self.decoder: Decoder | None = None
        self.came = 0
        """Bytes of the body as they came, before they are decompressed."""
        self.patient = b"expect" not in headers  # who asks before sending has the answer and sends no more

    async def receive(self) -> MutableMapping[str, Any]:
        """Raises Refused for a body that is too large, or too slow."""
        if self.whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self._receive()
        except TimeoutError:
            self.patient = False
            raise Refused(408, "the body did not come in time", hint="send it faster, or in smaller requests") from None
        self._came(message)
        if self.received is None:
            return message
        if self.decoder is not None:
            return await self._decoded(message, self.decoder, self.received)
        self.received.more(len(message.get("body", b"")))
        return message

    async def _decoded(
        self, message: MutableMapping[str, Any], decoder: Decoder, received: Received
    ) -> MutableMapping[str, Any]:
        """The message with its plain bytes, which count as if they had come so."""
        if message["type"] != "http.request":
            return message
        data, plain = message.get("body", b""), bytearray()
        self.came += len(data)
        received.declared(self.came)  # a compressed body of any length may have few plain bytes
        async for step in decoder.decoded(data):
            received.more(len(step))
            plain += step
        if self.whole:
            decoder.end()
        return {**message, "body": bytes(plain)}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if not self.whole:  # what is still to come is not read as a request
                message["headers"] = [*message["headers"], (b"connection", b"close")]
        elif self.bodiless:
            message = {**message, "body": b""}
        if message["type"] == "http.response.body" and not self.whole and not message.get("more_body", False):
            self.held = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def finish(self) -> None:
        """End an answer that was given before the whole body was there."""
        if not self.held:
            return
        if self.patient:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not self.whole:
                        self._came(await self._receive())
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _came(self, message: MutableMapping[str, Any]) -> None:
        self.whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
