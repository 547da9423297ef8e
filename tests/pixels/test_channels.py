"""Every mode of picture as the right 8-bit values."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from allmlp.errors import DataError
from allmlp.pixels.channels import as_channels

WHITE = (255, 255, 255)


def values(image: Image.Image, in_chans: int) -> list[Any]:
    """Row by row, as ints or RGB triples."""
    done = as_channels(image, in_chans)
    assert done.mode == {1: "L", 3: "RGB"}[in_chans]
    pixels = np.asarray(done)
    return [tuple(p) if in_chans == 3 else int(p) for p in pixels.reshape(-1, *pixels.shape[2:]).tolist() or []]


def grey(array: Any, dtype: Any) -> Image.Image:
    return Image.fromarray(np.array([array], dtype=dtype))


def palette(*, transparency: Any = None) -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    if transparency is not None:
        image.info["transparency"] = transparency
    return image


def saved(image: Image.Image, form: str, **options: Any) -> Image.Image:
    """Through a file, as such pictures arrive."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    buffer.seek(0)
    return Image.open(buffer)


def bilevel() -> Image.Image:
    return grey([0, 255], np.uint8).convert("1")


RED_BLUE = [(255, 0, 0), (0, 0, 255)]
RGB_CASES = {
    "1": (bilevel, [(0, 0, 0), WHITE]),
    "L": (lambda: grey([0, 7, 255], np.uint8), [(0, 0, 0), (7, 7, 7), WHITE]),
    "LA": (lambda: Image.merge("LA", (grey([100, 100, 0], np.uint8), grey([255, 0, 0], np.uint8))), [(100,) * 3, WHITE, WHITE]),
    "LA, half": (lambda: Image.new("LA", (1, 1), (0, 51)), [(204, 204, 204)]),
    "RGB": (lambda: Image.new("RGB", (1, 1), (1, 2, 3)), [(1, 2, 3)]),
    "RGBA, opaque": (lambda: Image.new("RGBA", (1, 1), (1, 2, 3, 255)), [(1, 2, 3)]),
    "RGBA, clear": (lambda: Image.new("RGBA", (1, 1), (1, 2, 3, 0)), [WHITE]),
    "RGBA, a fifth": (lambda: Image.new("RGBA", (1, 1), (0, 255, 0, 51)), [(204, 255, 204)]),
    "P": (palette, RED_BLUE),
    "P, one colour clear": (lambda: palette(transparency=0), [WHITE, (0, 0, 255)]),
    "P, alpha by colour": (lambda: palette(transparency=bytes([255, 0])), [(255, 0, 0), WHITE]),
    "P, through a PNG": (lambda: saved(palette(), "PNG", transparency=1), [(255, 0, 0), WHITE]),
    "P, through a GIF": (lambda: saved(palette(), "GIF", transparency=0), [WHITE, (0, 0, 255)]),
    "RGB, one colour clear": (lambda: saved(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG", transparency=(9, 8, 7)), [WHITE]),
    "CMYK": (lambda: Image.new("CMYK", (1, 1), (0, 255, 255, 0)), [(255, 0, 0)]),
    "CMYK, black": (lambda: Image.new("CMYK", (1, 1), (0, 0, 0, 255)), [(0, 0, 0)]),
    "YCbCr": (lambda: Image.new("YCbCr", (1, 1), (255, 128, 128)), [WHITE]),
    "HSV": (lambda: Image.new("HSV", (1, 1), (0, 255, 255)), [(255, 0, 0)]),
}
GREY_CASES = {
    "1": (bilevel, [0, 255]),
    "RGB": (lambda: Image.new("RGB", (1, 1), (255, 0, 0)), [76]),  # 0.299 of 255
    "RGBA, clear": (lambda: Image.new("RGBA", (1, 1), (0, 0, 0, 0)), [255]),
    "P": (palette, [76, 29]),
    "I;16": (lambda: grey([0, 257 * 7, 65535], np.uint16), [0, 7, 255]),
    "I;16, rounded": (lambda: grey([128, 129, 65535], np.uint16), [0, 1, 255]),
    # what the docstring says: 16 bits are scaled by their type's range, however dark the picture is
    "I;16, dark": (lambda: grey([0, 100, 255], np.uint16), [0, 0, 1]),
    "I;16, through a PNG": (lambda: saved(grey([0, 257 * 200, 65535], np.uint16), "PNG"), [0, 200, 255]),
    "I;16B, through a TIFF": (lambda: big_endian([0, 257 * 200, 65535]), [0, 200, 255]),
    "I of 16 bits": (lambda: grey([0, 257 * 7, 65535], np.int32), [0, 7, 255]),
    "I of more": (lambda: grey([0, 400_000, 1_000_000], np.int32), [0, 102, 255]),
    "I with negatives": (lambda: grey([-5, 0, 65535], np.int32), [0, 0, 255]),
    "F in [0, 1]": (lambda: grey([0, 0.2, 1], np.float32), [0, 51, 255]),
    "F in [0, 1000]": (lambda: grey([0, 200, 1000], np.float32), [0, 51, 255]),
    "F with NaN": (lambda: grey([float("nan"), 0.6, 1], np.float32), [0, 153, 255]),
    "F all zero": (lambda: grey([0, 0], np.float32), [0, 0]),
}


def big_endian(row: list[int]) -> Image.Image:
    """A 16-bit grey TIFF with the other byte order, which Pillow opens as I;16B."""
    tags = {256: len(row), 257: 1, 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: 2 * len(row)}
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # the pixels follow the table
    entries = b"".join(struct.pack(">HHII", tag, 4, 1, value) for tag, value in tags.items())
    table = struct.pack(">H", len(tags)) + entries + struct.pack(">I", 0)
    image = Image.open(io.BytesIO(b"MM\0\x2a" + struct.pack(">I", 8) + table + np.array(row, ">u2").tobytes()))
    assert image.mode == "I;16B"
    return image


@pytest.mark.parametrize("case", RGB_CASES)
def test_every_mode_becomes_the_right_rgb(case: str) -> None:
    make, expected = RGB_CASES[case]
    assert values(make(), 3) == expected


@pytest.mark.parametrize("case", GREY_CASES)
def test_every_mode_becomes_the_right_grey(case: str) -> None:
    make, expected = GREY_CASES[case]
    assert values(make(), 1) == expected


@pytest.mark.parametrize("case", [c for c in GREY_CASES if c[0] in "IF"])
def test_deep_greys_are_grey_in_rgb_too(case: str) -> None:
    make, expected = GREY_CASES[case]
    assert values(make(), 3) == [(v, v, v) for v in expected]


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, [[1, 2], [3, 4], [5, 6]]),
        (2, [[2, 1], [4, 3], [6, 5]]),
        (3, [[6, 5], [4, 3], [2, 1]]),
        (4, [[5, 6], [3, 4], [1, 2]]),
        (5, [[1, 3, 5], [2, 4, 6]]),
        (6, [[5, 3, 1], [6, 4, 2]]),
        (7, [[6, 4, 2], [5, 3, 1]]),
        (8, [[2, 4, 6], [1, 3, 5]]),
    ],
)
def test_exif_orientation_turns_the_picture_upright(orientation: int, upright: list[list[int]]) -> None:
    image = Image.fromarray(np.array([[1, 2], [3, 4], [5, 6]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = as_channels(saved(image, "PNG", exif=exif), 1)
    assert np.asarray(turned).tolist() == upright


def test_the_picture_given_is_not_changed() -> None:
    image = Image.new("RGBA", (2, 1), (1, 2, 3, 4))
    before = (image.mode, image.tobytes())
    as_channels(image, 3)
    assert (image.mode, image.tobytes()) == before


@pytest.mark.parametrize("in_chans", [0, 2, 4])
def test_other_numbers_of_channels_are_refused(in_chans: int) -> None:
    with pytest.raises(DataError, match=f"not {in_chans}"):
        as_channels(Image.new("RGB", (2, 2)), in_chans)
