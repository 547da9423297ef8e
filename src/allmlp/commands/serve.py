"""allmlp serve"""

import ipaddress
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from allmlp.commands.words import Engines, pair, parse, say
from allmlp.errors import AllmlpError

KEY = "ALLMLP_API_KEY"
MOST_PORT = 65_535


@dataclass(frozen=True, kw_only=True)
class Words:
    """Answer pictures over HTTP, with a page to try it at / and what programs may ask at /docs.

    Logs one line of JSON for each request on stdout. SIGTERM ends it when all is answered, SIGHUP loads the model anew. A key
    in the environment variable ALLMLP_API_KEY is asked of every request that has one to do with the model.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_BUNDLE")]
    """The run folder, its .safetensors file, a bundle of allmlp export, or the name of a released checkpoint (allmlp models
    --released)."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for all, which lets others in."""
    port: int = 8000
    """0 takes a free one."""
    weights: Literal["best", "last"] = "best"
    """Which weights of the run."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Resize the model to this size in pixels first; one number for both sides."""
    engine: Engines = "auto"
    """What answers: the model as it is (eager), an engine, or the fastest here (auto)."""
    batch: int = 32
    """Images that go through the model together, at most."""
    max_megabytes: float = 32
    """Of one request."""
    max_pixels: int = 50_000_000
    """Of one picture."""
    max_images: int = 32
    """In one request."""
    max_requests: int = 512
    """Under way at a time; more are told to come again."""
    quiet: bool = False
    """No lines on stdout."""


def main(words: list[str]) -> int:
    if not hasattr(signal, "SIGHUP"):
        raise AllmlpError(
            "allmlp serve needs signals that this system has not", hint="run it on Linux, in WSL too, or on macOS"
        )
    from allmlp.serving.ending import endable

    with endable():
        return _serve(parse(Words, words, command="serve"))


def _serve(given: Words) -> int:
    if given.batch < 1:
        raise AllmlpError("--batch starts at 1", hint="give 1 or more")
    if not 0 <= given.port <= MOST_PORT:
        raise AllmlpError(f"--port {given.port} is no port", hint=f"give one from 1 to {MOST_PORT}, or 0 for a free one")
    from allmlp.data.extras import needed

    for library in ("fastapi", "uvicorn", "httptools", "prometheus_client", "python_multipart"):
        needed(library, "serve", "allmlp serve")
    from allmlp.serving.app import Server
    from allmlp.serving.journal import Journal
    from allmlp.serving.limits import Limits
    from allmlp.serving.served import Source
    from allmlp.serving.server import run

    key = os.environ.get(KEY) or None
    limits = Limits(
        megabytes=given.max_megabytes,
        held=max(Limits.held, given.max_megabytes),
        pixels=given.max_pixels,
        images=given.max_images,
        waiting=max(Limits.waiting, given.max_images),
        requests=given.max_requests,
    )
    source = Source(run=given.run, weights=given.weights, img_size=pair(given.img_size), engine=given.engine, batch=given.batch)
    server = Server(source, limits=limits, key=key, journal=Journal(None if given.quiet else sys.stdout))
    if key is None and not _loopback(given.host):
        say(f"allmlp: whoever reaches {given.host} may use this; set {KEY} to ask for a key")
    name = Path(given.run).name or given.run
    run(server, host=given.host, port=given.port, ready=lambda address: say(f"allmlp: {name} at {address}, Ctrl-C ends it"))
    return 0


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
