"""How tests talk to a server that runs in their own process."""

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx2
from PIL import Image

from allmlp.serving.app import Server

Answer = TypeVar("Answer")


def talk(server: Server, action: Callable[[httpx2.AsyncClient], Awaitable[Answer]]) -> Answer:
    """What `action` makes of a client of this server."""

    async def run() -> Answer:
        transport = httpx2.ASGITransport(app=server.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=60) as client:
            return await action(client)

    return asyncio.run(run())


def ask(server: Server, method: str = "POST", path: str = "/v1/predict", **words: Any) -> httpx2.Response:
    """One request."""
    return talk(server, lambda client: client.request(method, path, **words))


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def form(*contents: bytes) -> list[tuple[str, tuple[str, bytes, str]]]:
    """For `files=`."""
    return [("images", (f"{i}.png", content, "image/png")) for i, content in enumerate(contents)]


def encoded(*contents: bytes) -> dict[str, list[str]]:
    """For `json=`."""
    return {"images": [base64.b64encode(content).decode() for content in contents]}
