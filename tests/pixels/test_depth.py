"""Deep values as 8 bits, against the rule written out in plain numpy."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from allmlp.pixels.depth import eight_bits, own_range
from allmlp.pixels.read import decode_image, read_image
from allmlp.pixels.reading import Reading
from tiffs import numbers, picture_of, text, tiff

FILES = Path(__file__).parent / "files"
TYPES = ("uint16", "int8", "int16", "int32", "uint32", "float32")


def by_hand(values: NDArray[Any], value_range: tuple[float, float] | None, nodata: float | None) -> NDArray[np.int64]:
    """The rule of docs/data.md, one value after the other."""
    numbers = [float(value) for value in values.reshape(-1)]
    nothing = [math.isnan(v) or v == nodata or (math.isfinite(v) and abs(v) > 3.4e38) for v in numbers]
    known = [v for v, is_nothing in zip(numbers, nothing, strict=True) if not is_nothing and math.isfinite(v)]
    if value_range is not None:
        low, high = value_range
    elif values.dtype == np.uint16:
        low, high = 0.0, 65535.0
    else:
        low, high = min([0.0, *known]), max(known, default=0.0)
    span = high - low if high > low else 1.0  # all values are one
    made = []
    for value, is_nothing in zip(numbers, nothing, strict=True):
        inside = low if is_nothing else min(max(value, low), high)
        made.append(255 * ((inside - low) / span))
    return np.array(made).reshape(values.shape)


def ranges(lowest: float, highest: float) -> st.SearchStrategy[tuple[float, float] | None]:
    ends = st.lists(st.floats(lowest, highest, width=32), min_size=2, max_size=2, unique=True)
    return st.none() | ends.map(lambda pair: (min(pair), max(pair))).filter(lambda pair: pair[1] - pair[0] > 1e-30)


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_every_type_follows_the_rule_to_half_a_level(dtype: str, data: st.DataObject) -> None:
    elements: dict[str, Any] = {"allow_subnormal": False} if dtype == "float32" else {}
    values = data.draw(arrays(dtype, array_shapes(min_dims=2, max_dims=3, max_side=5), elements=elements or None))
    value_range = data.draw(ranges(-1e9, 1e9))
    nodata = data.draw(st.none() | st.sampled_from(values.reshape(-1).tolist()))
    nodata = None if nodata is None or math.isnan(nodata) else nodata
    found = eight_bits(values, value_range, nodata)
    due = by_hand(values, value_range, nodata)
    assert found.shape == values.shape
    assert np.abs(found - due).max() <= 0.5 + 1e-6


@given(arrays("float32", (4, 4), elements={"allow_nan": False, "allow_infinity": False}))
def test_brighter_stays_brighter(values: NDArray[np.float32]) -> None:
    values = values[np.abs(values) < 1e38]
    found = eight_bits(values) if values.size else values
    order = np.argsort(values, kind="stable")
    assert (np.diff(found[order].astype(int)) >= 0).all()


def test_large_images_are_computed_in_blocks_as_small_ones() -> None:
    values = picture_of(0, (1200, 1000), "int32")
    rows = np.concatenate([eight_bits(row, own_range(values)) for row in values])
    assert np.array_equal(eight_bits(values).reshape(-1), rows)


def grey(name: str) -> NDArray[np.uint8]:
    return np.asarray(read_image(FILES / name, 1))


def test_one_infinite_value_saturates_and_changes_no_other() -> None:
    plain, infinite = grey("float01.tif"), grey("float-one-inf.tif")
    values = np.asarray(Image.open(FILES / "float01.tif"))
    assert np.array_equal(plain, np.rint(values.astype(float) * 255 / values.max()))
    assert infinite[0, 0] == 255
    assert (plain != infinite).sum() == 1


def test_signed_values_keep_their_order_over_their_own_range() -> None:
    values = np.asarray(Image.open(FILES / "int16-hounsfield.tif")).astype(float)
    assert np.array_equal(grey("int16-hounsfield.tif"), np.rint((values + 1000) * 255 / (values.max() + 1000)))


@pytest.mark.parametrize("in_chans", [1, 3])
def test_transparency_of_16_bits_is_white_as_that_of_8(in_chans: int) -> None:
    deep, eight = (np.asarray(read_image(FILES / f"grey{bits}-trns.png", in_chans)) for bits in (16, 8))
    assert deep[0, 0].min() == eight[0, 0].min() == 255
    assert np.array_equal(deep, eight)


def test_declared_nodata_counts_for_no_range_and_is_black() -> None:
    values = np.array([[-9999, 10, 20, 30]], "int16")
    assert np.asarray(decode_image(tiff(values, tags={42113: text("-9999")}), "", 1)).tolist() == [[0, 85, 170, 255]]
    for words in ("nan", "", "none", "\xff"):  # no number: nothing is declared
        assert np.asarray(decode_image(tiff(values, tags={42113: text(words)}), "", 1))[0, 0] == 0


@pytest.mark.parametrize("far", [3.4028235e38, -3.4028235e38, -3.40282e38, math.nan])
def test_what_floats_write_for_nothing_is_black_and_sets_no_range(far: float) -> None:
    values = np.array([[far, 0.0, 1.0, 2.0]], "float32")
    assert np.asarray(decode_image(tiff(values), "", 1)).tolist() == [[0, 0, 128, 255]]


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_tiff_of_every_type_and_byte_order_is_read_by_the_rule(dtype: str, big: bool, order: str) -> None:
    values = picture_of(1, (5, 7), dtype)
    for value_range in (None, (float(values.min()) / 2, float(values.max()) / 3)):
        found = np.asarray(decode_image(tiff(values, order=order, big=big), "", Reading(1, value_range)))
        assert np.array_equal(found, eight_bits(values, value_range))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_where_0_is_white_the_image_is_inverted(dtype: str, order: str) -> None:
    values = picture_of(2, (5, 7), dtype)
    black, white = (np.asarray(decode_image(tiff(values, photometric=p, order=order), "", 1)) for p in (1, 0))
    assert np.array_equal(white, 255 - black)


def test_12_bits_that_a_file_declares_are_scaled_by_4095() -> None:
    packed = np.array([[0x00, 0x0F, 0xFF]], np.uint8)  # 0x000, 0xFFF
    tags = {256: numbers("I", 2), 258: numbers("H", 12)}
    assert np.asarray(decode_image(tiff(packed, tags=tags), "", 1)).tolist() == [[0, 255]]


COLOURS = {"RGB": 3, "RGBA": 4}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("mode", COLOURS)
def test_colour_tiffs_of_16_bits_are_read_in_full(mode: str, order: str) -> None:
    values = picture_of(3, (5, 7, COLOURS[mode]), "uint16") // 16  # a camera of 12 bits
    values[..., 3:] = 65535
    extra = {338: numbers("H", 2, order=order)} if mode == "RGBA" else {}
    found = np.asarray(decode_image(tiff(values, photometric=2, order=order, tags=extra), "", Reading(3, (0, 4095))))
    assert np.array_equal(found, np.rint(values[..., :3] * (255 / 4095)))


def png(values: NDArray[np.uint16], kind: int, more: bytes = b"") -> bytes:
    """kind: PNG's colour type. more: chunks before the pixels."""
    import struct
    import zlib

    from odd_metadata import chunk

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_pngs_of_16_bits_are_read_in_full() -> None:
    from odd_metadata import chunk

    grey, colour = picture_of(4, (5, 7), "uint16"), picture_of(5, (5, 7, 3), "uint16")
    solid, clear = np.full((5, 7, 1), 65535, np.uint16), np.full((5, 7, 1), 0, np.uint16)
    spec = Reading(3, (1000.0, 50_000.0))
    due = np.repeat(eight_bits(grey, spec.value_range)[..., None], 3, 2)
    assert np.array_equal(np.asarray(decode_image(png(grey, 0), "", spec)), due)
    assert np.array_equal(np.asarray(decode_image(png(np.dstack([grey, solid]), 4), "", spec)), due)
    due = eight_bits(colour, spec.value_range)
    assert np.array_equal(np.asarray(decode_image(png(colour, 2), "", spec)), due)
    assert np.array_equal(np.asarray(decode_image(png(np.dstack([colour, solid]), 6), "", spec)), due)
    for values, kind in ((np.dstack([grey, clear]), 4), (np.dstack([colour, clear]), 6)):
        assert np.asarray(decode_image(png(values, kind), "", spec)).min() == 255
    key = colour[2, 3]
    found = np.asarray(decode_image(png(colour, 2, chunk(b"tRNS", key.astype(">u2").tobytes())), "", spec))
    due[2, 3] = 255
    assert np.array_equal(found, due)


def test_images_of_8_bits_know_no_range() -> None:
    file = io.BytesIO()
    Image.fromarray(picture_of(6, (5, 7, 3), "uint8")).save(file, "PNG")
    plain, ranged = (decode_image(file.getvalue(), "", Reading(3, r)).tobytes() for r in (None, (10.0, 20.0)))
    assert plain == ranged
