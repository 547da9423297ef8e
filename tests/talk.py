"""How tests talk to a server that runs in their own process, and what it serves."""

import asyncio
import base64
import io
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
import torch
from PIL import Image

import allmlp
from allmlp.run import write_model
from allmlp.serving.app import Server
from contract import awake, build
from helpers import picture

Answer = TypeVar("Answer")


def talk(server: Server, action: Callable[[httpx2.AsyncClient], Awaitable[Answer]]) -> Answer:
    """What `action` makes of a client of this server."""

    async def run() -> Answer:
        transport = httpx2.ASGITransport(app=server.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=600) as client:
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


FORM_HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"


def posted(content: bytes, headers: bytes = b"") -> bytes:
    """A whole request with one picture, as it goes over the wire."""
    body = b'--x\r\nContent-Disposition: form-data; name="images"\r\n\r\n' + content + b"\r\n--x--\r\n"
    return FORM_HEAD + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body


def expected(weights: Path, folder: Path, count: int, top: int) -> list[dict[str, Any]]:
    """predict's rows for picture(0), picture(1), …"""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.png").write_bytes(png(picture(number)))
    return list(allmlp.predict(allmlp.load(weights), [folder], top=top, engine="eager"))


def same(found: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether the server says what predict says."""
    return found["classes"] == row["classes"] and found["probabilities"] == pytest.approx(row["probabilities"], abs=1e-5)


def write(path: Path, seed: int, *, sure: float = 20, **hyper: Any) -> Path:
    """A small ResMLP of five classes whose answers differ from picture to picture. sure: less, for less of one class alone."""
    model = awake(build("resmlp_xs", **hyper)).eval()
    with torch.no_grad():
        model.head.weight.normal_(std=sure, generator=torch.Generator().manual_seed(seed))  # type: ignore[union-attr,operator]
    model.classes = ("ant", "bee", "cat", "dog", "eel")
    write_model(path, model.state_dict(), model.card())
    return path
