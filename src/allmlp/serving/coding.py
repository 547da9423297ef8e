"""Content-Encoding: compressed bodies are decompressed as they come in, never by more than the limit of a body."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterable

from allmlp.serving.refused import Refused

STEP = 262_144
"""Bytes that are decompressed at a time; in between, others have their turn."""
MEMBERS = 4096
"""Of one gzip body."""
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Name → zlib's window bits."""
TAKEN = "gzip, deflate"
TOO_MANY = f"the gzip body has more than {MEMBERS:,} members"


def decoder_of(headers: Iterable[tuple[bytes, bytes]]) -> "Decoder | None":
    """The decoder of a body with these headers; None for a plain body. Raises Refused (415) for one that is not known."""
    given = b",".join(value for name, value in headers if name == b"content-encoding").decode("latin-1")
    names = [name for name in (part.strip().lower() for part in given.split(",")) if name not in ("", "identity")]
    if not names:
        return None
    unknown = [name for name in names if name not in WINDOWS]
    if unknown or len(names) > 1:
        what = (
            f"the content encoding {unknown[0][:50]!r} is not known" if unknown else f"the body is encoded {len(names)} times"
        )
        raise Refused(415, what, hint=f"send it as it is, or encoded once: {TAKEN}", more={"accept-encoding": TAKEN})
    return Decoder(names[0])


class Decoder:
    """One compressed body."""

    def __init__(self, name: str) -> None:
        self.name, self.members = name.removeprefix("x-"), 1
        self._bits = WINDOWS[name]
        self._stream = zlib.decompressobj(self._bits)
        self._begun = False

    async def decoded(self, data: bytes) -> AsyncIterator[bytes]:
        """The plain bytes of the next piece, at most `STEP` at a time. Raises Refused (400) for damaged ones."""
        while data or not self._stream.eof:
            if self._stream.eof:
                data = self._next(data)
                continue
            self._begun = self._begun or bool(data)
            try:
                plain = self._stream.decompress(data, STEP)
            except zlib.error as error:
                raise self._damaged(str(error).partition(": ")[2] or str(error)) from None
            data = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
            if plain:
                yield plain
                await asyncio.sleep(0)
            elif not data and not self._stream.eof:
                return

    def end(self) -> None:
        """The body is whole. Raises Refused (400) where the compressed data are not."""
        if self._begun and not self._stream.eof:
            raise self._damaged("it is cut short")

    def _next(self, data: bytes) -> bytes:
        """What is left for the next member of a gzip body; zeros that fill up the end are no member."""
        rest = data.lstrip(b"\0")
        if not rest:
            return b""
        if self.name != "gzip":
            raise self._damaged("bytes follow its end")
        self.members += 1
        if self.members > MEMBERS:
            raise Refused(413, TOO_MANY, hint="compress it as a whole")
        self._stream = zlib.decompressobj(self._bits)
        return rest

    def _damaged(self, why: str) -> Refused:
        return Refused(
            400, f"the body is no whole {self.name}: {why}", hint=f"compress it again, or send it without {self.name}"
        )
