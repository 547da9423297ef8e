"""Which kinds of image files are read here, and what would read others."""

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.util import find_spec

from PIL import features

AVIF = features.check("avif")
"""Whether this Pillow was built with a decoder."""
HEIC = find_spec("pillow_heif") is not None
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", *(("AVIF",) if AVIF else ()))
"""Pillow's names. Nothing else is tried: some of its formats call other programs."""
JPEG, PNG, BMP = (".jpg", ".jpeg", ".jfif", ".jpe", ".jif"), (".png", ".apng"), (".bmp", ".dib")
OF_AVIF, OF_HEIC = (".avif",), (".heic", ".heif", ".hif")
SUFFIXES = (
    *JPEG,
    *PNG,
    ".webp",
    *BMP,
    ".tif",
    ".tiff",
    ".gif",
    *(OF_AVIF if AVIF else ()),
    *(OF_HEIC if HEIC else ()),
)
"""How image files are called, in lower case."""
INSTALL = 'pip install "allmlp[heic]"'


@cache
def formats() -> tuple[str, ...]:
    """FORMATS, and HEIF where pillow-heif is installed, which is loaded by the first call."""
    if not HEIC:
        return FORMATS
    try:
        import_module("pillow_heif").register_heif_opener(thumbnails=False)
    except ImportError:  # installed, and broken
        return FORMATS
    return (*FORMATS, "HEIF")


def reader_of(endings: Iterable[str]) -> str:
    """What would read files of these endings, as the end of a sentence; nothing where nothing is known."""
    told = []
    if not HEIC and set(endings) & set(OF_HEIC):
        told.append(f"; {INSTALL} reads {OF_HEIC[0]}")
    if not AVIF and set(endings) & set(OF_AVIF):
        told.append("; a Pillow with AVIF reads .avif")
    return "".join(told)


def needs(head: bytes) -> str | None:
    """What is missing to read a file that begins with these bytes; None where it is of no kind that is known."""
    if head.startswith(b"\xff\xd8"):
        return _frame(head)
    if head[4:8] != b"ftyp":
        return None
    if head[8:12] in (b"avif", b"avis"):
        return None if AVIF else "AVIF, which this Pillow does not read"
    return (
        None
        if HEIC or head[8:12] not in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
        else (f"HEIC, which pillow-heif reads: {INSTALL}")
    )


def _frame(head: bytes) -> str | None:
    """Why a JPEG file is not read, by its frame header; None where that is not among these bytes."""
    at = 2
    while at + 5 <= len(head) and head[at] == 0xFF:
        marker, length = head[at + 1], int.from_bytes(head[at + 2 : at + 4])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return None if head[at + 4] == 8 else f"JPEG of {head[at + 4]} bits a channel, which is not read"
        at += 2 + max(length, 2)
    return None
