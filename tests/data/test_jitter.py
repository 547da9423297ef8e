"""Colour jitter is torchvision's, to the byte."""

import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter

from allmlp.data.jitter import Jitter
from allmlp.pixels.tensor import pixels_of
from helpers import picture


@pytest.mark.parametrize("strength", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("colours", ["L", "RGB"])
def test_jitter_is_torchvisions_to_the_byte(colours: str, strength: float) -> None:
    ours, theirs = Jitter(strength), ColorJitter(strength, strength, strength)
    for seed in range(40):
        given = picture(seed, (37, 23), colours)
        torch.manual_seed(seed)
        made = ours(given)
        torch.manual_seed(seed)
        due = np.asarray(theirs(given)).reshape(23, 37, -1)
        assert np.array_equal(made.permute(1, 2, 0).numpy(), due)


def test_a_picture_and_its_pixels_are_jittered_alike_and_stay_as_they_are() -> None:
    given = picture(0, (20, 30))
    pixels = pixels_of(given).permute(2, 0, 1)
    before = pixels.clone()
    torch.manual_seed(0)
    made = Jitter(0.5)(given)
    torch.manual_seed(0)
    assert torch.equal(made, Jitter(0.5)(pixels))
    assert torch.equal(pixels, before)
