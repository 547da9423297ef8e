"""Pictures come out as Pillow resizes them, within a grey level."""

import numpy as np
import pytest
from PIL import Image

from allmlp.pixels.resample import MODES, resized
from helpers import columns_first, levels_apart, picture


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("colours", ["L", "RGB"])
@pytest.mark.parametrize("size", [(48, 48), (97, 131), (150, 200), (240, 320)], ids=str)
def test_a_resized_picture_is_pillows_within_a_grey_level(size: tuple[int, int], colours: str, mode: str) -> None:
    given = picture(0, (200, 150), colours)
    levels = levels_apart(resized(given, size, mode), columns_first(given, size, mode))
    assert levels.max() <= 1
    assert (levels > 0).mean() < 0.01


def test_a_photographs_usual_size_is_resized_in_pillows_own_order() -> None:
    for given in (picture(0, (500, 375)), picture(1, (375, 500)), picture(2, (640, 480))):
        for size in ((224, 224), (given.height * 2 // 3, given.width * 2 // 3)):
            levels = levels_apart(resized(given, size, "bicubic"), given.resize(size[::-1], Image.Resampling.BICUBIC))
            assert levels.max() <= 1


def test_a_picture_of_that_size_is_not_touched() -> None:
    given = picture(1, (30, 20))
    assert np.array_equal(resized(given, (20, 30), "bicubic").permute(1, 2, 0), np.asarray(given))
