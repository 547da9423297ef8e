"""Random parts of pictures are those that timm draws."""

import random

import pytest
from timm.data.transforms import RandomResizedCropAndInterpolation

from allmlp.data.crop import RandomPart
from helpers import columns_first, levels_apart, picture

SIZE = (32, 48)


@pytest.mark.parametrize("colours", ["L", "RGB"])
@pytest.mark.parametrize("size", [(90, 61), (61, 90), (200, 20), (20, 200)], ids=str)
def test_a_random_part_is_the_one_timm_draws(size: tuple[int, int], colours: str) -> None:
    ours, theirs = RandomPart(SIZE, 0.08, "bicubic"), RandomResizedCropAndInterpolation(SIZE)
    given = picture(0, size, colours)
    for seed in range(20):
        random.seed(seed)
        made = ours(given)
        random.seed(seed)
        top, left, height, width = theirs.get_params(given, theirs.scale, theirs.ratio)
        due = columns_first(given.crop((left, top, left + width, top + height)), SIZE, "bicubic")
        levels = levels_apart(made, due)
        assert levels.max() <= 2
        assert (levels > 0).mean() < 0.02
