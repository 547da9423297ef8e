"""Orientation, by tag 274 alone; tests/trust/test_fuzzed_metadata.py has many more of each kind."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from allmlp.pixels.bare import bare
from allmlp.pixels.orientation import exif_of, orientation_in, upright
from allmlp.pixels.read import decode_image, read_image
from odd_metadata import chunk, orientation_by_hand, plain, raw_profile, scene

FILES = Path(__file__).parent / "files"
SAID = {"orient6-ascii-bad": 6, "orient6-neg-short": 6, "plain": 1} | {
    f"fuzzed-{number}": said for number, said in enumerate((8, 6, 8, 6, 8, 6, 3, 8, 3, 3, 3, 6))
}


def tags(*entries: tuple[int, int, bytes], place: int = 8) -> bytes:
    """EXIF of entries (type, count, four bytes), all of tag 274."""
    table = b"".join(struct.pack("<HHI", 274, kind, count) + field for kind, count, field in entries)
    return (b"II*\0" + struct.pack("<I", place)).ljust(place, b"\0") + struct.pack("<H", len(entries)) + table + bytes(4)


@pytest.mark.parametrize("name", SAID)
def test_odd_tags_beside_it_change_nothing(name: str) -> None:
    turns = {1: 0, 3: 2, 6: -1, 8: 1}
    due = np.rot90(np.asarray(read_image(FILES / "plain.jpg", 3)), turns[SAID[name]])
    assert np.array_equal(np.asarray(read_image(FILES / f"{name}.jpg", 3)), due)


CASES = {
    "a short": (tags((3, 1, b"\6\0\0\0")), 6),
    "a long": (tags((4, 1, b"\6\0\0\0")), 6),
    "a byte": (tags((1, 1, b"\6\0\0\0")), 6),
    "a signed short": (tags((8, 1, b"\6\0\0\0")), 6),
    "at an odd place": (tags((3, 1, b"\6\0\0\0"), place=13), 6),
    "ascii": (tags((2, 2, b"6\0\0\0")), 1),
    "a rational": (tags((5, 1, b"\x08\0\0\0")), 1),
    "a float": (tags((11, 1, struct.pack("<f", 6))), 1),
    "two values": (tags((3, 2, b"\6\0\6\0")), 1),
    "no value": (tags((3, 0, b"\6\0\0\0")), 1),
    "very many values": (tags((3, 0xFFFFFFFF, b"\6\0\0\0")), 1),
    "of an unknown type": (tags((99, 1, b"\6\0\0\0")), 1),
    "0": (tags((3, 1, b"\0\0\0\0")), 1),
    "9": (tags((3, 1, b"\x09\0\0\0")), 1),
    "negative": (tags((8, 1, b"\xfa\xff\0\0")), 1),
    "without its last byte": (tags((3, 1, b"\6\0\0\0"))[:-5], 1),
    "without the next directory": (tags((3, 1, b"\6\0\0\0"))[:-4], 6),
    "none": (tags(), 1),
    "nothing": (b"", 1),
    "no EXIF": (b"hello, world, this is text", 1),
    "Exif twice": (b"Exif\0\0Exif\0\0" + tags((3, 1, b"\6\0\0\0")), 6),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_read_is_upright(case: str) -> None:
    content, due = CASES[case]
    assert orientation_in(content) == due


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_that_is_written_says_nothing_else(orientation: int) -> None:
    content = exif_of(orientation)
    assert orientation_by_hand(content) == orientation_in(content) == orientation
    exif = Image.Exif()
    exif.load(content)
    assert dict(exif) == {274: orientation}


def test_xmp_turns_nothing() -> None:
    content = plain("png")
    xmp = chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>')
    assert decode_image(content[:33] + xmp + content[33:], "", 3).size == scene().size


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt"])
def test_imagemagicks_profile_in_a_png_is_read(kind: bytes) -> None:
    import zlib

    profile = raw_profile(exif_of(8))
    data = b"Raw profile type exif\0" + (profile if kind == b"tEXt" else b"\0" + zlib.compress(profile))
    content = plain("png")
    for place in (33, len(content) - 12):
        found = decode_image(content[:place] + chunk(kind, data) + content[place:], "", 3)
        assert np.array_equal(np.asarray(found), np.rot90(np.asarray(scene())))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_a_file_without_its_metadata_has_the_same_pixels(suffix: str) -> None:
    content = bare(plain(suffix))
    assert content is not None
    assert decode_image(content, "", 3).tobytes() == decode_image(plain(suffix), "", 3).tobytes()


def test_an_image_that_was_turned_is_not_turned_again() -> None:
    image = scene()
    image.info["exif"] = exif_of(6)
    turned = upright(image, 6)
    assert "exif" not in turned.info
    assert "exif" in image.info
