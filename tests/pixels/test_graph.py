"""Preprocessing inside a graph does what Pillow does outside it."""

# axes: c channels, h w pixels

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp.errors import ModelError
from allmlp.pixels.graph import PicturesIn
from allmlp.pixels.preprocess import Preprocessing

LEVEL = 1 / 255


def photo(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Shapes and noise; size is (width, height)."""
    generator = np.random.default_rng(size[0])
    coarse = Image.fromarray(generator.integers(0, 256, (9, 11, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse).astype(int) + generator.integers(-30, 30, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).convert(mode)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("crop_mode", ["center", "squash"])
@pytest.mark.parametrize("img_size", [(48, 48), (40, 56)])
@pytest.mark.parametrize("size", [(150, 97), (61, 180), (20, 33), (48, 48)])
def test_pictures_become_what_pillow_makes_of_them(
    size: tuple[int, int], img_size: tuple[int, int], crop_mode: str, interpolation: str
) -> None:
    """Pillow's weights are of 22 bits, so that a value near one half may be rounded the other way."""
    spec = Preprocessing(img_size=img_size, crop_mode=crop_mode, interpolation=interpolation)
    picture = photo(size)
    got = PicturesIn(spec)(torch.from_numpy(np.array(picture))[None])[0]
    levels = (got - spec(picture)).abs() * torch.tensor(spec.std).reshape(-1, 1, 1) / LEVEL
    assert got.shape == (3, *img_size)
    wide = size[0] > size[1] or (size[0] < size[1] < img_size[0])  # where every Pillow begins with the columns
    assert levels.max() < (1.01 if wide else 8)
    assert levels.mean() < (0.02 if wide else 0.4)


def test_grey_pictures_have_one_channel() -> None:
    spec = Preprocessing(img_size=(28, 28), in_chans=1, mean=(0.5,), std=(0.25,))
    picture = photo((28, 28), "L")
    got = PicturesIn(spec)(torch.from_numpy(np.array(picture))[None, ..., None])[0]
    assert got.shape == (1, 28, 28)
    assert torch.allclose(got, PicturesIn(spec)(torch.from_numpy(np.array(picture))[None, ..., None])[0])


def test_a_border_is_refused() -> None:
    with pytest.raises(ModelError, match="'border' is not offered"):
        PicturesIn(Preprocessing(img_size=(8, 8), crop_mode="border"))
