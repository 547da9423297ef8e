"""JPEG, PNG and WebP files without their metadata, for when Pillow stumbles over it.

What decides how pixels are decoded stays, bit for bit; of EXIF a new one remains that has the orientation and nothing else.
"""

import struct
import zlib
from collections.abc import Iterator

from allmlp.pixels.orientation import PREFIX, RAW, exif_of, orientation_in, profile

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
WEBP_KEPT = (b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF")
MOST_TEXT = 1 << 20
"""Bytes of a compressed text that are looked at."""


def bare(content: bytes) -> bytes | None:
    """The file without metadata; None for what is none of these formats."""
    if content.startswith(b"\xff\xd8"):
        return _jpeg(content)
    if content.startswith(PNG_MAGIC):
        return _png(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp(content)
    return None


def _jpeg(content: bytes) -> bytes:
    """Of the APPn segments, JFIF's and Adobe's stay: they say which colours the components are."""
    kept, exif, at = [content[:2]], b"", 2
    while at + 4 <= len(content):
        marker, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if content[at] != 0xFF or marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD9:  # filling bytes, markers without length
            at += 1
            continue
        if marker == 0xDA or length < 2:
            break
        segment = content[at : at + 2 + length]
        at += len(segment)
        if marker == 0xE1 and segment[4:10] == PREFIX:
            exif += segment[10:]
        described = marker == 0xFE or 0xE0 <= marker <= 0xEF
        colours = (segment[4:9] == b"JFIF\0" and length >= 16) or (segment[4:9] == b"Adobe" and length >= 14)
        if not described or colours:
            kept.append(segment)
    said = PREFIX + exif_of(orientation_in(exif))
    kept.insert(1, b"\xff\xe1" + struct.pack(">H", len(said) + 2) + said)
    return b"".join(kept) + content[at:]


def _png(content: bytes) -> bytes:
    kept, exif, text = [], b"", b""
    for kind, data, whole in _png_chunks(content):
        sound = zlib.crc32(kind + data).to_bytes(4) == whole[-4:]
        if kind in PNG_KEPT:
            kept.append((kind, whole))
        elif kind == b"eXIf" and sound:
            exif = data
        elif kind in (b"tEXt", b"zTXt") and sound and data.startswith(RAW.encode() + b"\0"):
            text = data[len(RAW) + 1 :] if kind == b"tEXt" else _inflated(data[len(RAW) + 2 :])
    said = b"eXIf" + exif_of(orientation_in(exif or profile(text.decode("latin-1"))))
    chunk = struct.pack(">I", len(said) - 4) + said + struct.pack(">I", zlib.crc32(said))
    pixels = next((place for place, (kind, _) in enumerate(kept) if kind == b"IDAT"), len(kept))
    parts = [whole for _, whole in kept]
    return PNG_MAGIC + b"".join([*parts[:pixels], chunk, *parts[pixels:]])


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """(kind, data, the whole chunk); the last may be cut short."""
    at = len(PNG_MAGIC)
    while at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4])
        whole = content[at : at + 12 + length]
        yield whole[4:8], whole[8 : 8 + length], whole
        at += 12 + length


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MOST_TEXT)
    except zlib.error:
        return b""


def _webp(content: bytes) -> bytes:
    """Without its VP8X chunk's flags for metadata, where it has that chunk; else there is none."""
    kept, exif, at = [], b"", 12
    while at + 8 <= len(content):
        kind, length = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        whole = content[at : at + 8 + length + length % 2]
        at += 8 + length + length % 2
        if kind == b"VP8X" and len(whole) >= 9:
            kept.append(whole[:8] + bytes([whole[8] & 0b0001_0010 | 0b1000]) + whole[9:])  # alpha, animation, and EXIF
        elif kind in WEBP_KEPT:
            kept.append(whole)
        elif kind == b"EXIF":
            exif = whole[8 : 8 + length]
    if kept and kept[0][:4] == b"VP8X":
        said = exif_of(orientation_in(exif))
        kept.append(b"EXIF" + struct.pack("<I", len(said)) + said)
    body = b"WEBP" + b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(body)) + body
