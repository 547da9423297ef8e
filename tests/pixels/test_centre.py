"""The centre is torchvision's: Resize, then CenterCrop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from allmlp.pixels.centre import ResizedCentre
from allmlp.pixels.resample import MODES
from helpers import columns_first, levels_apart, picture


def apart(size: int, crop: tuple[int, int], name: str, given_picture: Image.Image) -> NDArray[np.int64]:
    """Grey levels between ours and torchvision's, its columns resized first."""
    width, height = transforms.Resize(size, InterpolationMode(name))(given_picture).size
    whole = columns_first(given_picture, (height, width), name)
    return levels_apart(ResizedCentre(size, crop, name)(given_picture), transforms.CenterCrop(crop)(whole))


@settings(max_examples=150, deadline=None)
@given(
    w=st.integers(1, 300), h=st.integers(1, 300), y=st.integers(1, 70), x=st.integers(1, 70), extra=st.integers(0, 30),
    name=st.sampled_from(MODES), colours=st.sampled_from(["L", "RGB"]), seed=st.integers(0, 9),
)  # fmt: skip
def test_the_centre_is_that_of_the_whole_picture(
    w: int, h: int, y: int, x: int, extra: int, name: str, colours: str, seed: int
) -> None:
    assert apart(max(x, y) + extra, (y, x), name, picture(seed, (w, h), colours)).max() <= 2


def test_a_landscape_on_noise_differs_in_few_pixels_by_one_level() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8))
    for turned in (noise, noise.transpose(Image.Transpose.ROTATE_90)):
        found = apart(256, (224, 224), "bicubic", turned)
        assert found.max() <= 1
        assert (found > 0).mean() < 0.01


def test_a_picture_that_is_not_resized_is_cropped_to_the_byte() -> None:
    assert not apart(40, (32, 30), "bicubic", picture(0, (40, 60))).any()


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (300, 300)], ids=str)
def test_a_strip_is_never_resized_as_a_whole(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """It would have 30 million pixels and more; so would a picture of which a card keeps a hundredth."""
    monkeypatch.setattr("allmlp.pixels.centre.resized", lambda *_: pytest.fail("resized as a whole"))
    centre = ResizedCentre(224 if 1 in size else 22_400, (224, 224), "bicubic")
    assert centre(Image.new("RGB", size, (1, 2, 3))).flatten(1).unique(dim=1).tolist() == [[1], [2], [3]]
