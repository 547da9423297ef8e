"""Images of every format that say how they are to be turned, among other metadata that is odd, damaged or hostile."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tiffs import tiff

ORIENTATION = 274
HARMLESS = [270, 271, 272, 282, 283, 296, 305, 306, 315, 700, 33432, 34665, 34675, 34853, 37500, 40961, 41730, 45056, 50706]
"""Tags of metadata; pixels do not depend on them."""
FORMATS = ("jpg", "png", "webp", "tif")


def scene() -> Image.Image:
    """No two of its eight turns are alike, and it is not square."""
    rows, columns = np.mgrid[:16, :24]
    pixels = np.stack([rows * 15, columns * 10, (rows > 3) * (columns > 17) * 200], 2).astype(np.uint8)
    return Image.fromarray(pixels)


def plain(suffix: str) -> bytes:
    """The scene in a file without metadata."""
    if suffix == "tif":
        return tiff(np.asarray(scene()), photometric=2)
    file = io.BytesIO()
    scene().save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[suffix])
    return file.getvalue()


def orientation_by_hand(exif: bytes) -> int:
    """What the bytes of EXIF say, read one by one, as the standard has it: a single SHORT; of other whole numbers too."""
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None or len(exif) < 8:
        return 1

    def number(place: int, size: int) -> int | None:
        piece = exif[place : place + size]
        return int.from_bytes(piece, order) if len(piece) == size else None  # type: ignore[arg-type]

    place = number(4, 4) or 0
    found = 1
    for index in range(number(place, 2) or 0):
        entry = place + 2 + 12 * index
        if number(entry + 8, 4) is None:
            break
        size = {1: 1, 6: 1, 3: 2, 8: 2, 4: 4, 9: 4}.get(number(entry + 2, 2) or 0)
        if number(entry, 2) == ORIENTATION:
            found = (number(entry + 8, size) or 0) if size is not None and number(entry + 4, 4) == 1 else 1
    return found if 1 <= found <= 8 else 1


def exif(chance: random.Random, orientation: int, *, right: bool) -> bytes:
    """EXIF with some odd tags; right: whether the orientation's own tag is as the standard has it."""
    order = chance.choice("<>")
    entries = [
        _entry(chance, order, chance.choice([*HARMLESS, chance.randrange(300, 65536)])) for _ in range(chance.randrange(6))
    ]
    entries = [entry for entry in entries if struct.unpack(order + "H", entry[:2])[0] != ORIENTATION]
    if right:
        entries.append(struct.pack(order + "HHIHH", ORIENTATION, 3, 1, orientation, chance.choice((0, 0xFFFF))))
    else:
        entries.append(_entry(chance, order, ORIENTATION, orientation))
    if chance.random() < 0.7:
        entries.sort(key=lambda entry: struct.unpack(order + "H", entry[:2]))
    place = chance.choice((8, 8, 8, 9, 13, 40))
    following = chance.choice((0, 0, 8, place, 0xFFFFFFFF, chance.randrange(200)))
    table = struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", following)
    content = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, place)
    content = content.ljust(place, b"\0") + table + chance.randbytes(chance.choice((0, 3, 30)))
    if right:
        return content if chance.random() < 0.8 else content[: place + len(table) - chance.randrange(5)]  # its end is missing
    return content if chance.random() < 0.7 else content[: chance.randrange(len(content) + 1)]


def _entry(chance: random.Random, order: str, tag: int, value: int | None = None) -> bytes:
    kind = chance.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 129, 0, 14, 65535))
    count = chance.choice((0, 1, 1, 1, 2, 3, 4, 5, 100, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
    field = (
        chance.randbytes(4)
        if value is None
        else chance.choice((struct.pack(order + "HH", value, 0), struct.pack(order + "I", value)))
    )
    return struct.pack(order + "HHI", tag, kind, count) + chance.choice(
        (field, bytes(4), b"\xff" * 4) if value is None else (field,)
    )


def odd(suffix: str, chance: random.Random, said: bytes) -> bytes:
    """The scene in a file with this EXIF, and, half of the time, with other metadata that is damaged."""
    damaged = chance.random() < 0.5
    return {"jpg": _jpeg, "png": _png, "webp": _webp}[suffix](chance, said, damaged)


def _jpeg(chance: random.Random, said: bytes, damaged: bool) -> bytes:
    content = plain("jpg")
    begin = 2 + 2 + int.from_bytes(content[4:6])  # after JFIF's own segment
    segments = [(0xE1, b"Exif\0\0" + said)]
    if damaged:
        segments += chance.sample(
            [
                (0xE0, b"JFIF\0\1"),
                (0xE0, b"JFXX\0" + chance.randbytes(9)),
                (0xE2, b"ICC_PROFILE\0" + chance.randbytes(chance.randrange(4))),
                (0xE2, b"ICC_PROFILE\0\1\1" + chance.randbytes(40)),
                (0xE2, b"MPF\0" + chance.randbytes(chance.randrange(60))),
                (0xE2, b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\4\0\1\0\0\0\2\0\0\0\0\0\0\0"),
                (0xED, b"Photoshop 3.0\x008BIM\3\xed" + chance.randbytes(chance.randrange(12))),
                (0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="8"/>'),
                (0xEE, b"Adobe\0"),
                (0xE4, chance.randbytes(20)),
                (0xFE, chance.randbytes(20)),
            ],
            3,
        )
        chance.shuffle(segments)
    made = b"".join(b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data for kind, data in segments)
    return content[:begin] + made + content[begin:]


def chunk(kind: bytes, data: bytes, *, right: bool = True) -> bytes:
    """A PNG chunk; right: whether its checksum is."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) ^ (not right))


def raw_profile(said: bytes) -> bytes:
    """As ImageMagick writes it."""
    digits = (b"Exif\0\0" + said).hex()
    lines = "\n".join(digits[place : place + 72] for place in range(0, len(digits), 72))
    return f"\nexif\n{len(said) + 6:8}\n{lines}\n".encode()


def _png(chance: random.Random, said: bytes, damaged: bool) -> bytes:
    content = plain("png")
    begin, end = 8 + 25, len(content) - 12  # after IHDR, and before IEND
    place = chance.choice((begin, begin, end))
    own = chance.choice(
        (
            chunk(b"eXIf", said),
            chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(said)),
            chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(said))),
        )
    )
    chunks = [own]
    if damaged:
        bomb = zlib.compress(bytes(3_000_000))
        chunks += chance.sample(
            [
                chunk(b"iCCP", b"profile\0\0" + chance.randbytes(20)),
                chunk(b"iCCP", b"profile\0\7" + zlib.compress(b"profile")),
                chunk(b"iCCP", b"profile\0\0" + bomb),
                chunk(b"zTXt", b"Comment\0\0" + bomb),
                chunk(b"zTXt", b"Comment\0\5" + chance.randbytes(9)),
                chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'<x tiff:Orientation="8"/>'),
                chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb),
                chunk(b"tEXt", chance.randbytes(12)),
                chunk(b"gAMA", b"\0"),
                chunk(b"cHRM", b"\0"),
                chunk(b"pHYs", b"\0"),
                chunk(b"sRGB", b""),
                chunk(b"acTL", b"\0"),
                chunk(b"tIME", chance.randbytes(7), right=False),
                chunk(b"prVt", chance.randbytes(7), right=False),
            ],
            3,
        )
        chance.shuffle(chunks)
    return content[:place] + b"".join(chunks) + content[place:]


def _webp(chance: random.Random, said: bytes, damaged: bool) -> bytes:
    content = plain("webp")

    def part(kind: bytes, data: bytes) -> bytes:
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    width, height = scene().size
    flags = 0x08 | (0x24 if damaged else 0)
    body = part(b"VP8X", struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"))
    if damaged:
        body += part(b"ICCP", chance.randbytes(11))
    body += content[12:] + part(b"EXIF", chance.choice((b"", b"Exif\0\0")) + said)
    if damaged:
        body += part(b"XMP ", b'<x tiff:Orientation="8"/>' + chance.randbytes(3))
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _tiff(chance: random.Random, orientation: int, *, right: bool) -> tuple[bytes, int]:
    """(file, its orientation): in TIFF files the tags lie beside those of the pixels."""
    order = chance.choice("<>")
    tags = {}
    for tag in chance.sample(HARMLESS, chance.randrange(5)):
        entry = _entry(chance, order, tag)
        tags[tag] = (*struct.unpack(order + "HI", entry[2:8]), entry[8:])
    entry = _entry(chance, order, ORIENTATION, orientation)
    if right:
        entry = struct.pack(order + "HHIHH", ORIENTATION, 3, 1, orientation, 0)
    tags[ORIENTATION] = (*struct.unpack(order + "HI", entry[2:8]), entry[8:])
    content = tiff(np.asarray(scene()), photometric=2, order=order, tags=tags)
    return content, orientation_by_hand(content)


def cases(count: int, seed: int) -> Iterator[tuple[str, bytes, int]]:
    """(suffix, file, the orientation that it says); the same for the same seed. Of four, one has a damaged orientation."""
    chance = random.Random(seed)
    for number in range(count):
        suffix, orientation, right = FORMATS[number % len(FORMATS)], chance.randrange(1, 9), chance.random() < 0.75
        if suffix == "tif":
            content, said = _tiff(chance, orientation, right=right)
        else:
            bytes_of_exif = exif(chance, orientation, right=right)
            content, said = odd(suffix, chance, bytes_of_exif), orientation_by_hand(bytes_of_exif)
        assert not right or said == orientation
        yield suffix, content, said
