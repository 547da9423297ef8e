"""Only the centre is resampled, and it is the centre of the whole picture resampled."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from allmlp.pixels.centre import FILTERS, ResizedCentre
from helpers import picture


def both(size: int, crop: tuple[int, int], name: str) -> tuple[ResizedCentre, transforms.Compose]:
    resize = transforms.Resize(size, InterpolationMode(name))
    return ResizedCentre(size, crop, name), transforms.Compose([resize, transforms.CenterCrop(crop)])


@settings(max_examples=150, deadline=None)
@given(
    w=st.integers(1, 300), h=st.integers(1, 300), y=st.integers(1, 70), x=st.integers(1, 70), extra=st.integers(0, 30),
    name=st.sampled_from(list(FILTERS)), colours=st.sampled_from(["L", "RGB"]), seed=st.integers(0, 9),
)  # fmt: skip
def test_the_centre_is_that_of_the_whole_picture(
    w: int, h: int, y: int, x: int, extra: int, name: str, colours: str, seed: int
) -> None:
    if max(w, h) > 40 * min(w, h):  # a strip: the whole picture resized would have thousands of pixels a side
        return
    ours, theirs = both(max(x, y) + extra, (y, x), name)
    given_picture = picture(seed, (w, h), colours)
    made, whole = ours(given_picture), theirs(given_picture)
    assert (made.size, made.mode) == (whole.size, whole.mode)
    apart = np.abs(np.asarray(made).astype(int) - np.asarray(whole))
    assert apart.max() <= 2


def test_a_landscape_on_noise_differs_in_hardly_a_pixel() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8))
    for turned in (noise, noise.transpose(Image.Transpose.ROTATE_90)):
        ours, theirs = both(256, (224, 224), "bicubic")
        apart = np.abs(np.asarray(ours(turned)).astype(int) - np.asarray(theirs(turned)))
        assert apart.max() <= 1
        assert (apart > 0).mean() < 0.002


def test_a_picture_that_is_not_resized_is_cropped_to_the_byte() -> None:
    ours, theirs = both(40, (32, 30), "bicubic")
    assert np.array_equal(ours(picture(0, (40, 60))), theirs(picture(0, (40, 60))))
