"""Random parts of pictures are those that timm draws."""

import random

import pytest
import torch
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation

from allmlp.data.crop import RandomPart
from helpers import columns_first, levels_apart, picture

SIZE = (32, 48)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (1, 10), (4, 4)], ids=str)
def test_of_a_picture_of_few_pixels_at_least_one_is_shown(size: tuple[int, int]) -> None:
    """timm's own draws have none of some."""
    part, given = RandomPart(SIZE, 0.01, "bicubic"), Image.new("RGB", size, (10, 20, 30))
    for seed in range(100):
        random.seed(seed)
        assert (part(given).flatten(1).unique(dim=1) == torch.tensor([[10], [20], [30]])).all()


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
