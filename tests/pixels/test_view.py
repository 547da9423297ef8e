"""Tensors prepared for one model are shown to another as that one's own preparation would have made them."""

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp.errors import ModelError
from allmlp.pixels.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from allmlp.pixels.view import View
from helpers import picture


def prepared(size: tuple[int, int], mean: tuple[float, ...], std: tuple[float, ...]) -> Preprocessing:
    return Preprocessing(img_size=size, in_chans=len(mean), mean=mean, std=std, crop_ratio=1.0)


def test_the_same_preparation_hands_the_tensor_on() -> None:
    spec = prepared((16, 16), HALF, HALF)
    images = torch.randn(2, 3, 16, 16)
    assert View(spec, spec)(images) is images


@pytest.mark.parametrize(("given", "wanted"), list(product([(HALF, HALF), (IMAGENET_MEAN, IMAGENET_STD)], repeat=2)))
def test_normalisation_is_as_if_the_teacher_had_read_the_picture(given: tuple[tuple[float, ...], ...], wanted: object) -> None:
    ours, theirs = prepared((24, 16), *given), prepared((24, 16), *wanted)  # type: ignore[misc]
    image = picture(0, (16, 24))
    # both subtract and divide in float32: a few units in the last place of values below 3
    torch.testing.assert_close(View(ours, theirs)(ours(image)[None]), theirs(image)[None], atol=2e-6, rtol=0)


def test_size_is_as_if_the_teacher_had_resized_the_picture() -> None:
    ours, theirs = prepared((32, 32), IMAGENET_MEAN, IMAGENET_STD), prepared((48, 48), HALF, HALF)
    ramp = np.linspace(40, 200, 32).astype(np.uint8)
    image = Image.fromarray(
        np.stack([np.tile(ramp, (32, 1)), np.tile(ramp[:, None], (1, 32)), np.full((32, 32), 90, np.uint8)], 2)
    )
    # Pillow rounds to whole grey values after each of two passes: 1.5 / 255 / 0.5
    torch.testing.assert_close(View(ours, theirs)(ours(image)[None]), theirs(image)[None], atol=0.012, rtol=0)


def test_grey_images_are_shown_to_a_teacher_of_colours_three_times_over() -> None:
    ours, theirs = prepared((8, 8), (0.4,), (0.2,)), prepared((8, 8), IMAGENET_MEAN, IMAGENET_STD)
    image = picture(1, (8, 8), "L")
    torch.testing.assert_close(View(ours, theirs)(ours(image)[None]), theirs(image)[None], atol=2e-6, rtol=0)


def test_colours_are_shown_to_a_teacher_of_grey_by_their_luminance() -> None:
    ours, theirs = prepared((8, 8), HALF, HALF), prepared((8, 8), (0.5,), (0.25,))
    image = picture(2, (8, 8))
    # Pillow's grey is a whole number: 0.5 / 255 / 0.25
    torch.testing.assert_close(View(ours, theirs)(ours(image)[None]), theirs(image)[None], atol=0.01, rtol=0)


def test_other_numbers_of_channels_are_refused() -> None:
    two = Preprocessing(img_size=(8, 8), in_chans=2, mean=(0.5, 0.5), std=(0.5, 0.5))
    with pytest.raises(ModelError, match="3 channels cannot be shown as 2"):
        View(prepared((8, 8), HALF, HALF), two)
