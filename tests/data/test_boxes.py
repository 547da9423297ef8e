"""Random parts of whole batches: the parts timm draws, with the pixels Pillow gives them."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation

from allmlp.data.boxes import ASPECT, boxes, resampling, resized_parts
from allmlp.data.draws import Draws
from allmlp.pixels.resample import MODES, resized
from helpers import columns_first, levels_apart, picture


def draws(count: int, seed: int = 0) -> Draws:
    return Draws.keyed(seed, 0, torch.arange(count))


def test_boxes_lie_inside_and_have_the_share_and_the_shape_that_was_asked() -> None:
    found = boxes(draws(4000), 60, 100, (0.2, 0.5)).double()
    top, left, tall, wide = found.T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= 60).all()
    assert (left + wide <= 100).all()
    share, aspect = tall * wide / 6000, wide / tall
    assert 0.19 < share.min() < 0.21
    assert 0.49 < share.max() < 0.51
    assert ASPECT[0] - 0.03 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < ASPECT[1] + 0.05
    assert abs(share.mean() - 0.35) < 0.01


def test_a_shape_that_never_fits_gives_the_middle() -> None:
    assert boxes(draws(3), 10, 100, (1.0, 1.0)).tolist() == [[0, 43, 10, 13]] * 3


@pytest.mark.parametrize("height", [24, 32])
def test_boxes_are_spread_as_timms(height: int) -> None:
    """Every corner and side: mean, square and products with each other, in 4,000 draws of each."""
    count, given = 4000, Image.new("L", (32, height))
    random.seed(0)
    due = np.array([RandomResizedCropAndInterpolation.get_params(given, (0.08, 1.0), ASPECT) for _ in range(count)])
    made = boxes(draws(count), height, 32, (0.08, 1.0)).numpy()
    for of_one, of_other in [(a, b) for a in range(4) for b in range(a, 4)]:
        one, two = (found[:, of_one] * found[:, of_other].astype(float) for found in (made, due))
        assert abs(one.mean() - two.mean()) < 4 * np.sqrt((one.var() + two.var()) / count)
    one, two = made.mean(0), due.mean(0)
    assert (np.abs(one - two) < 4 * np.sqrt((made.var(0) + due.var(0)) / count)).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("size", "wanted"), [((32, 32), (32, 32)), ((40, 27), (32, 32)), ((13, 60), (24, 20))], ids=str)
@pytest.mark.parametrize("colours", ["L", "RGB"])
def test_each_part_has_pillows_pixels(size: tuple[int, int], wanted: tuple[int, int], colours: str, mode: str) -> None:
    """Enlarged and made smaller. Pillow's weights have 22 bits, torch's 15, ours all, so halves go either way."""
    pictures = [picture(i, (size[1], size[0]), colours) for i in range(30)]
    pixels = torch.from_numpy(np.stack([np.asarray(p).reshape(*size, -1) for p in pictures])).permute(0, 3, 1, 2)
    chosen = boxes(draws(len(pictures)), *size, (0.08, 1.0))
    made = resized_parts(pixels, chosen, wanted, mode)
    apart, from_ours = [], []
    for each, given, (top, left, tall, wide) in zip(made, pictures, chosen.tolist(), strict=True):
        part = given.crop((left, top, left + wide, top + tall))
        apart.append(levels_apart(each, columns_first(part, wanted, mode)))
        from_ours.append((each.int() - resized(part, wanted, mode).int()).abs().numpy())
    assert max(a.max() for a in apart) <= 1
    assert np.mean(np.stack(apart) > 0) < (0.02 if mode == "bilinear" else 1e-3)
    assert max(a.max() for a in from_ours) <= 2
    assert np.mean(np.stack(from_ours) > 0) < 0.02


def test_a_part_of_the_wanted_size_is_left_as_it_is() -> None:
    pixels = torch.randint(0, 256, (3, 2, 12, 14), dtype=torch.uint8)
    chosen = torch.tensor([[0, 0, 6, 8], [6, 6, 6, 8], [2, 3, 6, 8]])
    made = resized_parts(pixels, chosen, (6, 8), "bicubic")
    due = [pixels[i, :, top : top + 6, left : left + 8] for i, (top, left, _, _) in enumerate(chosen.tolist())]
    assert torch.equal(made, torch.stack(due))


def test_weights_add_up_to_one_and_stay_inside_the_part() -> None:
    """By hand: two of three pixels from place 1 on, enlarged to four by the linear filter."""
    (made,) = resampling(torch.tensor([1]), torch.tensor([2]), 4, 4, "bilinear")
    assert made.T.tolist() == [[0, 1, 0, 0], [0, 0.75, 0.25, 0], [0, 0.25, 0.75, 0], [0, 0, 1, 0]]
