"""Picture files that would decode to far more than they are."""

import io
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

MANY = 10_000
"""Frames of an animation."""


def giants() -> Iterator[tuple[str, bytes]]:
    """Such as declare more pixels than are taken, of each format."""
    for bits in (1, 8, 16):
        yield f"{bits}-bit.png", png(50_000, 50_000, bits, zlib.compress(bytes(50_000 * 6_251)) if bits == 1 else b"")
    yield "largest.png", png(2**31 - 1, 2**31 - 1, 8, b"")
    yield "long.png", png(2**31 - 1, 1, 8, b"")
    yield "rgb.bmp", bmp(50_000, 50_000)
    yield "upside-down.bmp", bmp(50_000, -50_000)
    yield "strip.tif", tiff(50_000, 50_000, "<")
    yield "largest.tif", tiff(2**31 - 1, 2**31 - 1, ">")
    yield "largest.webp", webp(16_383, 16_383)
    yield "large.webp", webp(9_000, 9_000)
    yield "largest.jpg", jpeg(65_535, 65_535)
    yield "libjpegs-largest.jpg", jpeg(65_500, 65_500)
    yield "scans.jpg", scans(8000, 2000)
    yield "largest.gif", gif(65_535, 65_535, 1)


def animations() -> Iterator[tuple[str, bytes]]:
    """Such as have frames without end, of which the first alone is a picture."""
    yield "many.gif", gif(200, 200, MANY)
    yield "many.png", _animated("PNG", 300)
    yield "many.webp", _animated("WEBP", 300)
    yield "promised.png", _promised(_animated("PNG", 3))


def png(width: int, height: int, bits: int, pixels: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels or zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 1000, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0)
        + bytes(946)
    )


def tiff(width: int, height: int, order: str) -> bytes:
    """One strip of deflated zeros."""
    pixels = zlib.compress(bytes(1_000_000))
    values = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in values.items())
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(pixels))
    return head + pixels + struct.pack(f"{order}H", len(values)) + entries + bytes(4)


def webp(width: int, height: int) -> bytes:
    """A lossless one of a single colour: its five prefix codes have one symbol each, so that pixels take no bits at all."""
    codes = [(1, 1), (0, 1), (0, 1), (0, 1)] * 5  # simple, one symbol, of one bit, 0
    fields = [(width - 1, 14), (height - 1, 14), (0, 1), (0, 3), (0, 1), (0, 1), (0, 1), *codes]
    total = place = 0
    for value, bits in fields:
        total, place = total | value << place, place + bits
    body = b"\x2f" + total.to_bytes(-(-place // 8), "little") + bytes(4)
    body += bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 12 + len(body)) + b"WEBPVP8L" + struct.pack("<I", len(body)) + body


def jpeg(width: int, height: int) -> bytes:
    content = _encoded(8, "JPEG")
    return re.sub(
        rb"(\xff\xc0..\x08)....", lambda found: found[1] + struct.pack(">HH", height, width), content, count=1, flags=re.S
    )


def scans(side: int, count: int) -> bytes:
    """A progressive JPEG whose last scan, which says nothing, comes again and again: each is a pass over all pixels."""
    content = _encoded(side, "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + last * count + content[-2:]


def gif(width: int, height: int, frames: int) -> bytes:
    """Frames of 8 × 8 pixels."""
    content = _encoded(8, "GIF")
    start = content.index(b",", 13 + 3 * 2 ** ((content[10] & 7) + 1) * (content[10] >> 7))
    return content[:6] + struct.pack("<HH", width, height) + content[10:start] + content[start:-1] * frames + b";"


def _promised(content: bytes) -> bytes:
    """An animated PNG that says it has two thousand million frames."""
    place = content.index(b"acTL")
    chunk = b"acTL" + struct.pack(">II", 2**31 - 1, 0)
    return content[:place] + chunk + struct.pack(">I", zlib.crc32(chunk)) + content[place + 16 :]


def _encoded(side: int, kind: str, **words: object) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side), 128).save(file, kind, **words)
    return file.getvalue()


def _animated(kind: str, frames: int) -> bytes:
    file = io.BytesIO()
    images = [Image.new("RGB", (16, 16), (number % 256, number // 256, 0)) for number in range(frames)]
    images[0].save(file, kind, save_all=True, append_images=images[1:], duration=20, lossless=True)
    return file.getvalue()
