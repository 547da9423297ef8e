"""TIFF files of several pages, and of channels that are no image's: never the first in silence."""

import io

import numpy as np
import pytest
from PIL import Image

from allmlp.pixels.read import UnreadableImage, decode_image, probe_content
from allmlp.pixels.reading import Reading
from tiffs import numbers, picture_of, text, tiff

STACK = [picture_of(page, (5, 7), "uint8") for page in range(5)]


def refused(content: bytes, wanted: Reading | int = 3) -> UnreadableImage:
    with pytest.raises(UnreadableImage) as error:
        decode_image(content, "a.tif", wanted)
    return error.value


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_a_stack_is_refused_until_a_page_is_chosen(order: str, big: bool) -> None:
    content = tiff(*STACK, order=order, big=big)
    error = refused(content)
    assert "5 pages" in error.reason
    assert "--data.page" in error.hint
    for page, values in enumerate(STACK, 1):
        assert np.array_equal(np.asarray(decode_image(content, "", Reading(1, None, page))), values)
    assert "no page 6" in refused(content, Reading(1, None, 6)).reason
    assert probe_content(content, "").size == (7, 5)  # its header is one


def test_a_page_that_pillow_wrote_is_chosen_alike() -> None:
    file = io.BytesIO()
    first, *others = map(Image.fromarray, STACK)
    first.save(file, "TIFF", save_all=True, append_images=others, compression="tiff_lzw")
    assert np.array_equal(np.asarray(decode_image(file.getvalue(), "", Reading(1, None, 4))), STACK[3])


def test_the_only_page_is_number_1() -> None:
    assert np.array_equal(np.asarray(decode_image(tiff(STACK[0]), "", Reading(1, None, 1))), STACK[0])
    assert "it has 1 page, so there is no page 2" in refused(tiff(STACK[0]), Reading(1, None, 2)).reason


@pytest.mark.parametrize("kind", [1, 4, 5])
def test_thumbnails_and_masks_are_no_pages(kind: int) -> None:
    other = {254: numbers("I", kind)}
    for pages, each in (((STACK[0], STACK[1]), ({}, other)), ((STACK[1], STACK[0]), (other, {}))):
        assert np.array_equal(np.asarray(decode_image(tiff(*pages, each=each), "", 1)), STACK[0])


def test_a_page_has_an_orientation_of_its_own() -> None:
    content = tiff(*STACK[:2], each=({}, {274: numbers("H", 6)}))
    assert decode_image(content, "", Reading(1, None, 1)).size == (7, 5)
    assert np.array_equal(np.asarray(decode_image(content, "", Reading(1, None, 2))), np.rot90(STACK[1], -1))


def test_a_chain_of_pages_that_bites_its_tail_ends() -> None:
    content = bytearray(tiff(STACK[0]))
    content[-4:] = content[4:8]
    assert np.array_equal(np.asarray(decode_image(bytes(content), "", 1)), STACK[0])


def test_imagejs_stack_in_one_page_is_refused() -> None:
    said = "ImageJ=1.53t\nimages={}\nslices={}\n"
    assert "5 images" in refused(tiff(STACK[0], tags={270: text(said.format(5, 5))})).reason
    assert decode_image(tiff(STACK[0], tags={270: text(said.format(1, 1))}), "", 1).size == (7, 5)


@pytest.mark.parametrize(
    ("channels", "photometric", "extra"),
    [
        (2, 1, None),
        (2, 1, (0,)),
        (5, 1, (0,) * 4),
        (5, 1, None),
        (5, 2, (0, 0)),
        (6, 2, (2, 0, 0)),
        (3, 1, (0, 0)),
        (4, 2, (0,)),
    ],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_channels_that_are_neither_colour_nor_opacity_are_refused(
    channels: int, photometric: int, extra: tuple[int, ...] | None, dtype: str
) -> None:
    tags = {} if extra is None else {338: numbers("H", *extra)}
    error = refused(tiff(picture_of(0, (5, 7, channels), dtype), photometric=photometric, tags=tags))
    assert "channel" in error.reason
    assert error.hint.startswith("save what the model is to see")


@pytest.mark.parametrize(("photometric", "kind", "channels"), [(1, 2, 2), (2, 2, 4), (2, 1, 4)])
def test_opacity_is_read(photometric: int, kind: int, channels: int) -> None:
    values = picture_of(0, (5, 7, channels), "uint8")
    values[..., -1] = 255
    found = np.asarray(decode_image(tiff(values, photometric=photometric, tags={338: numbers("H", kind)}), "", 3))
    assert np.array_equal(found, np.broadcast_to(values[..., :-1], (5, 7, 3)))


def test_a_fourth_channel_that_is_the_same_everywhere_is_padding() -> None:
    values = picture_of(0, (5, 7, 4), "uint8")
    values[..., 3] = 0
    found = np.asarray(decode_image(tiff(values, photometric=2, tags={338: numbers("H", 0)}), "", 3))
    assert np.array_equal(found, values[..., :3])


@pytest.mark.parametrize(("dtype", "shape", "words"), [("float64", (5, 7), "64 bits"), ("float32", (5, 7, 3), "3 channels")])
def test_types_that_cannot_be_read_are_named(dtype: str, shape: tuple[int, ...], words: str) -> None:
    error = refused(tiff(picture_of(0, shape, dtype), photometric=2 if len(shape) == 3 else 1))
    assert words in error.reason
    assert error.hint.startswith("save it as")


@pytest.mark.parametrize("order", "<>")
def test_colours_of_16_bits_in_planes_of_their_own_are_refused_since_pillow_mixes_their_bytes_up(order: str) -> None:
    planes = np.concatenate([picture_of(page, (5, 7), "uint16") for page in range(3)])  # one strip of three planes
    tags = {
        257: numbers("I", 5, order=order),
        258: numbers("H", 16, 16, 16, order=order),
        277: numbers("H", 3, order=order),
        284: numbers("H", 2, order=order),
        339: numbers("H", 1, 1, 1, order=order),
    }
    error = refused(tiff(planes, photometric=2, order=order, tags=tags))
    assert "3 channels of 16 bits in planes of their own" in error.reason
    assert "INTERLEAVE=PIXEL" in error.hint


def test_a_fourth_channel_of_16_bits_is_refused_even_where_its_high_bytes_are_all_the_same() -> None:
    values = picture_of(0, (5, 7, 4), "uint16") % 256
    assert "fourth channel" in refused(tiff(values, photometric=2, tags={338: numbers("H", 0)})).reason


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_values_of_an_undefined_format_are_unsigned(dtype: str) -> None:
    values = picture_of(0, (5, 7), dtype)
    told, untold = (decode_image(tiff(values, tags={339: numbers("H", kind)}), "", 1) for kind in (1, 4))
    assert np.array_equal(np.asarray(told), np.asarray(untold))


def test_reasons_are_true_of_no_pixels_raw_values_and_files_cut_short() -> None:
    nothing = {256: numbers("I", 0), 257: numbers("I", 0)}
    assert refused(tiff(STACK[0], tags=nothing)).reason == "it has no pixels: 0 × 0"
    assert "camera" in refused(tiff(STACK[0], photometric=32803)).reason
    assert "cut short" in refused(tiff(STACK[0])[:20]).reason


def test_a_jpeg_of_12_bits_is_refused_by_its_depth() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "JPEG")
    content = bytearray(file.getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 1], content[frame + 4] = 0xC1, 12
    assert "JPEG of 12 bits" in refused(bytes(content)).reason


def test_big_endian_bigtiff_is_refused_by_its_name() -> None:
    assert "big-endian BigTIFF" in refused(tiff(STACK[0], order=">", big=True)).reason


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_read_whatever_page_is_chosen(form: str) -> None:
    first, second = (Image.new("RGB", (8, 6), colour) for colour in ("red", "blue"))
    file = io.BytesIO()
    first.save(file, form, save_all=True, append_images=[second], **({"lossless": True} if form == "WEBP" else {}))
    for wanted in (Reading(3), Reading(3, None, 2)):
        assert decode_image(file.getvalue(), "", wanted).getpixel((0, 0)) == (255, 0, 0)
