"""How much a server takes, and how much of it is taken now."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from allmlp.errors import AllmlpError
from allmlp.pixels.read import MOST_PIXELS
from allmlp.serving.refused import Refused, busy

MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may bring, and how much all together."""

    megabytes: float = 32
    """Of one request's body."""
    pixels: int = 50_000_000
    """That one picture may declare; a picture is not decoded before."""
    images: int = 32
    """In one request."""
    evidence: int = 8
    """Images whose evidence is being computed or waits for it, over all requests."""
    requests: int = 512
    """That are being received or answered at a time; more are told to come again."""
    waiting: int = 512
    """Images that are being decoded or wait for the model, over all requests."""
    held: float = 256
    """Megabytes of bodies, over all requests."""
    connections: int = 2048
    """Open at a time, idle ones too."""
    headers_seconds: float = 10
    """Until the headers of a request are there."""
    body_seconds: float = 30
    """Until its body is there."""
    answer_seconds: float = 30
    """From there to its answer."""
    drain_seconds: float = 30
    """For the requests that are under way when the server is told to end."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise AllmlpError(f"the limit {name} is {value}", hint="give more than 0")
        if self.pixels > MOST_PIXELS:
            raise AllmlpError(f"the limit pixels is {self.pixels:,}", hint=f"give at most {MOST_PIXELS:,}")
        if self.images > self.waiting or self.megabytes > self.held:
            raise AllmlpError("one request may bring more than all together", hint="lower images and megabytes")

    @property
    def bytes(self) -> int:
        """Of one body."""
        return int(self.megabytes * MEGABYTE)


class Load:
    """How much is inside. It belongs to one event loop, so that counting needs no lock."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.requests = self.images = self.evidence = self.bytes = 0

    @contextmanager
    def request(self, *, always: bool = False) -> Iterator["Received"]:
        """One request, as long as it is received and answered. Raises Refused when there are too many, unless `always`."""
        if not always and self.requests >= self.limits.requests:
            raise busy(f"{self.requests} requests are under way")
        self.requests += 1
        received = Received(self)
        try:
            yield received
        finally:
            self.requests -= 1
            self.bytes -= received.bytes

    @contextmanager
    def room(self, images: int, evidence: int = 0) -> Iterator[None]:
        """Places for so many images, and for the evidence in so many. Raises Refused when there are not so many left."""
        if evidence > self.limits.evidence:
            hint = f"ask for it for at most {self.limits.evidence} pictures"
            raise Refused(413, "that is more evidence than is computed at a time", hint=hint)
        if self.images + images > self.limits.waiting or self.evidence + evidence > self.limits.evidence:
            raise busy(f"{self.images} images wait")
        self.images, self.evidence = self.images + images, self.evidence + evidence
        try:
            yield
        finally:
            self.images, self.evidence = self.images - images, self.evidence - evidence


class Received:
    """The body of one request as it comes in."""

    def __init__(self, load: Load) -> None:
        self.load, self.bytes = load, 0

    def declared(self, length: int) -> None:
        """What the headers say. Raises Refused for a body that is too large."""
        if length > self.load.limits.bytes:
            limit = f"{self.load.limits.megabytes:g} MB"
            raise Refused(413, f"the body is larger than {limit}", hint="send fewer or smaller pictures in a request")

    def more(self, count: int) -> None:
        """So many bytes came. Raises Refused when they are too many, for one request or for all together."""
        self.bytes += count
        self.load.bytes += count
        self.declared(self.bytes)
        if self.load.bytes > self.load.limits.held * MEGABYTE:
            raise busy(f"{self.load.bytes // MEGABYTE} MB of requests are held")
