"""Real pictures of every format, damaged by a seed: bits, lengths, chunks, headers, and ends."""

import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers import picture

FORMATS = ("PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP")
SUFFIXES = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "TIFF": "tif", "BMP": "bmp", "WEBP": "webp"}
FURTHER = os.environ.get("ALLMLP_BAD_IMAGES")
"""A folder of further damaged pictures."""


def originals() -> list[tuple[str, bytes]]:
    """(suffix, file) of small pictures in several modes and forms of each format."""
    found = []
    for kind in FORMATS:
        modes = {
            "PNG": ("L", "RGB", "RGBA", "P", "1", "LA"),
            "JPEG": ("L", "RGB", "CMYK"),
            "GIF": ("L", "P"),
            "TIFF": ("L", "RGB", "CMYK", "1"),
        }
        forms: list[dict[str, object]] = [{}]
        forms += {
            "JPEG": [{"progressive": True}],
            "TIFF": [{"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}, {"compression": "jpeg"}],
            "WEBP": [{"lossless": True}],
        }.get(kind, [])
        for mode in modes.get(kind, ("RGB",)):
            for form in forms:
                if form.get("compression") == "jpeg" and mode in ("1", "CMYK"):
                    continue
                file = io.BytesIO()
                picture(len(found), (24, 16), mode).save(file, kind, **form)
                found.append((SUFFIXES[kind], file.getvalue()))
    return found


def fuzzed(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(name, file); the same for the same seed."""
    chance = random.Random(seed)
    sources = originals()
    for number in range(count):
        suffix, content = sources[number % len(sources)]
        for _ in range(chance.choice((1, 1, 2, 4))):
            content = chance.choice(DAMAGES)(content, chance)
        yield f"{number:05}.{suffix}", content


def _bits(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice((1, 3, 20)) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _length(content: bytes, chance: random.Random) -> bytes:
    """A field of two or four bytes takes an extreme value, where lengths and sizes are: mostly near the beginning."""
    size = chance.choice((2, 4))
    place = chance.randrange(max(1, min(len(content), chance.choice((64, 100_000))) - size))
    value = chance.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFE)) & (256**size - 1)
    return content[:place] + value.to_bytes(size, chance.choice(("big", "little"))) + content[place + size :]


def _swap(content: bytes, chance: random.Random) -> bytes:
    """Two parts change places."""
    a, b, c = sorted(chance.randrange(len(content) + 1) for _ in range(3))
    return content[:a] + content[b:c] + content[a:b] + content[c:]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:b] + content[a:b] * chance.choice((1, 3, 50)) + content[b:]


def _zeros(content: bytes, chance: random.Random) -> bytes:
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:a] + bytes(b - a) + content[b:]


def _head(content: bytes, chance: random.Random) -> bytes:
    """The beginning of another format."""
    other = chance.choice(originals())[1] if chance.random() < 0.1 else b"\x89PNG\r\n\x1a\n"
    size = chance.choice((4, 8, 26))
    return other[:size] + content[size:]


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _bits,
    _bits,
    _cut,
    _length,
    _length,
    _swap,
    _repeat,
    _zeros,
    _head,
)


def written(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Such files in a folder, with those of $ALLMLP_BAD_IMAGES after them."""
    folder.mkdir(parents=True)
    for name, content in fuzzed(count, seed):
        (folder / name).write_bytes(content)
    if FURTHER:
        for number, path in enumerate(sorted(p for p in Path(FURTHER).rglob("*") if p.is_file())):
            (folder / f"further-{number:05}{path.suffix}").write_bytes(path.read_bytes())
    return sorted(folder.iterdir())
