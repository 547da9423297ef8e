"""TIFF files written field by field, without any library: types, channels, pages and tags that Pillow would not write."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
Tag = tuple[int, int, bytes]
"""(type, count, value as it stands in the file)"""


def numbers(kind: str, *values: int, order: str = "<") -> Tag:
    """kind: "H" or "I"."""
    return {"H": 3, "I": 4}[kind], len(values), struct.pack(f"{order}{len(values)}{kind}", *values)


def text(words: str) -> Tag:
    return 2, len(words) + 1, words.encode() + b"\0"


def tiff(
    *pages: Values,  # each h w, or h w c
    photometric: int = 1,
    order: str = "<",
    big: bool = False,
    tags: Mapping[int, Tag] | None = None,
    each: Sequence[Mapping[int, Tag]] = (),
) -> bytes:
    """Uncompressed pages. tags: of all of them; each: of the first, the second and so on."""
    content = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + ("HHHQ" if big else "HI"), *head(big)))
    link = 8 if big else 4  # where the place of the next directory is written
    for number, values in enumerate(pages):
        strip = len(content)
        channels = 1 if values.ndim == 2 else values.shape[2]
        pixels = values.astype(values.dtype.newbyteorder(order)).tobytes()  # type: ignore[arg-type]
        content += pixels + bytes(len(pixels) % 2)
        fields = {
            256: numbers("I", values.shape[1], order=order),
            257: numbers("I", values.shape[0], order=order),
            258: numbers("H", *[8 * values.dtype.itemsize] * channels, order=order),
            259: numbers("H", 1, order=order),
            262: numbers("H", photometric, order=order),
            273: numbers("I", strip, order=order),
            277: numbers("H", channels, order=order),
            278: numbers("I", values.shape[0], order=order),
            279: numbers("I", len(pixels), order=order),
            339: numbers("H", *[{"u": 1, "i": 2, "f": 3}[values.dtype.kind]] * channels, order=order),
            **(tags or {}),
            **(each[number] if number < len(each) else {}),
        }
        content[link : link + (8 if big else 4)] = struct.pack(order + "IQ"[big], len(content))
        link = _write(content, fields, order, big)
    return bytes(content)


def head(big: bool) -> tuple[int, ...]:
    return (43, 8, 0, 0) if big else (42, 0)


def _write(content: bytearray, fields: Mapping[int, Tag], order: str, big: bool) -> int:
    """Append a directory and the values that have no room in it; returns where the place of the next one is to be written."""
    number, count, offset, room = ("Q", "Q", "Q", 8) if big else ("H", "I", "I", 4)
    size = 4 + struct.calcsize(count) + room
    beyond = len(content) + struct.calcsize(number) + size * len(fields) + room
    table, more = struct.pack(order + number, len(fields)), b""
    for tag in sorted(fields):
        kind, values, value = fields[tag]
        if len(value) > room:
            value, more = struct.pack(order + offset, beyond + len(more)), more + value + bytes(len(value) % 2)
        table += struct.pack(order + "HH" + count, tag, kind, values) + value.ljust(room, b"\0")
    content += table
    link = len(content)
    content += bytes(room) + more
    return link


def picture_of(seed: int, shape: tuple[int, ...], dtype: str) -> Values:
    """Random values over the whole range of a whole-number type; floats from 0 to 1."""
    drawn = np.random.default_rng(seed)
    if dtype.startswith("f"):
        return drawn.random(shape).astype(dtype)
    about = np.iinfo(dtype)
    return drawn.integers(about.min, about.max, shape, dtype=dtype, endpoint=True)
