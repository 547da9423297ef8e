"""What some images of a set are, beside what all of them are."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from allmlp.data.images import ArrayImages, FileImages, Look
from allmlp.data.look import MOST, look_at
from allmlp.errors import DataError
from helpers import picture
from tiffs import picture_of, text, tiff


def looked(folder: Path, contents: list[bytes], page: int | None = None) -> Look | None:
    paths = []
    for number, content in enumerate(contents):
        paths.append(str(folder / f"{number:04}.tif"))
        Path(paths[-1]).write_bytes(content)
    return look_at(FileImages(paths, np.zeros(len(paths), dtype=int)), page)


def test_the_range_is_the_percentiles_of_all_values_of_small_images(tmp_path: Path) -> None:
    values = [picture_of(seed, (30, 20), "uint16") // 17 for seed in range(9)]
    found = looked(tmp_path, [tiff(v) for v in values])
    assert found is not None
    assert found.value_range == pytest.approx(np.percentile(np.stack(values), (0.1, 99.9)))
    assert (found.images, found.deep, found.grey) == (9, 9, True)


def test_one_hot_pixel_and_what_stands_for_nothing_move_no_range(tmp_path: Path) -> None:
    values = np.linspace(10, 20, 40_000, dtype=np.float32).reshape(200, 200)
    values[0, :4] = (np.inf, np.nan, 3.4028235e38, -9999)
    values[1, 0] = 1e6
    found = looked(tmp_path, [tiff(values, tags={42113: text("-9999")})])
    assert found is not None
    assert found.value_range is not None
    assert 10 <= found.value_range[0] < 10.1
    assert 19.9 < found.value_range[1] <= 20


def test_sparse_values_have_the_range_of_their_extremes_and_single_ones_none(tmp_path: Path) -> None:
    sparse = np.zeros((100, 100), np.uint16)
    sparse[5, 5] = 7
    found = looked(tmp_path, [tiff(sparse)])
    assert found is not None
    assert found.value_range == (0, 7)
    found = looked(tmp_path, [tiff(sparse * 0 + 3)])
    assert found is not None
    assert found.value_range is None


def test_images_are_looked_at_from_end_to_end_and_not_all_of_them(tmp_path: Path) -> None:
    contents = [tiff(np.full((4, 4), number, np.uint16)) for number in range(3 * MOST)]
    found = looked(tmp_path, contents)
    assert found is not None
    assert found.images == MOST
    assert found.value_range is not None
    assert found.value_range[0] < 3 < 3 * MOST - 4 < found.value_range[1]


def test_a_set_of_8_bits_has_no_range(tmp_path: Path) -> None:
    for mode, grey in (("L", True), ("RGB", False), ("LA", True), ("P", False), ("1", True)):
        paths = []
        for number in range(3):
            paths.append(str(tmp_path / f"{mode}{number}.png"))
            picture(number, mode=mode).save(paths[-1])
        assert look_at(FileImages(paths, [0, 0, 0]), None) == Look(images=3, grey=grey, deep=0, value_range=None)


def test_unreadable_ones_are_passed_over_and_stacks_alone_are_refused(tmp_path: Path) -> None:
    good, page = tiff(picture_of(0, (5, 7), "uint16")), np.zeros((5, 7), np.uint8)
    found = looked(tmp_path, [b"", good, tiff(page, page), b"text"])
    assert found is not None
    assert found.images == 1
    assert looked(tmp_path, [b"", b"text"]) is None  # others say what is wrong with them
    with pytest.raises(DataError, match="stack of N pages") as error:
        looked(tmp_path, [tiff(page, page)] * 3)
    assert "--data.page" in error.value.hint
    found = looked(tmp_path, [tiff(page, page)] * 3, page=2)
    assert found is not None
    assert found.images == 3


def test_a_page_that_no_image_has_is_refused_before_training(tmp_path: Path) -> None:
    page = picture_of(0, (5, 7), "uint8")
    for number in range(3):
        (tmp_path / f"{number}.tif").write_bytes(tiff(page, page))
    images = FileImages([str(tmp_path / f"{number}.tif") for number in range(3)], [0, 0, 0])
    assert look_at(images, 2) is not None
    with pytest.raises(DataError, match="no page") as error:
        look_at(images, 3)
    assert error.value.hint.startswith("choose another page")


def test_images_in_memory_are_what_they_are() -> None:
    assert look_at(ArrayImages(np.zeros((2, 8, 8), np.uint8), [0, 1], "a"), None) is None


def test_a_deep_set_of_colours_has_a_range_and_is_not_grey(tmp_path: Path) -> None:
    values = picture_of(0, (20, 20, 3), "uint16") // 16
    found = looked(tmp_path, [tiff(values, photometric=2)])
    assert found is not None
    assert not found.grey
    assert found.value_range == pytest.approx(np.percentile(values, (0.1, 99.9)))
    assert Image.open(tmp_path / "0000.tif").mode == "RGB"  # Pillow alone sees 8 bits
