"""Policies on whole batches do to each picture what Pillow does, as often as timm and torchvision do it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment as timm

from allmlp.data import kernels
from allmlp.data.draws import Draws
from allmlp.data.images import ArrayImages
from allmlp.data.loader import training_batches
from allmlp.data.memory import batch_policy, fits_memory, memory_batches
from allmlp.data.policy import TIMM
from allmlp.data.transforms import training_transform
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment
from helpers import picture

SPEC = Preprocessing(img_size=(16, 20), crop_ratio=1.0)
GREY = SPEC.fit(img_size=(16, 20), in_chans=1)
FILL = (10, 200, 90)


def smooth(number: int, in_chans: int) -> Image.Image:
    """A picture without noise, where a hundredth of a pixel makes little difference."""
    return picture(number, (5, 4), "RGB" if in_chans == 3 else "L").resize((20, 16), Image.Resampling.BICUBIC)


def as_batch(images: list[Image.Image]) -> torch.Tensor:
    arrays = [np.asarray(image).reshape(16, 20, -1) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


POINTWISE: dict[str, tuple[kernels.Kernel, Callable[..., Image.Image], list[float]]] = {
    "brightness": (kernels.brightness, timm.brightness, [0.1, 0.5, 1.0, 1.9]),
    "colour": (kernels.colour, timm.color, [0.1, 0.5, 1.0, 1.9]),
    "contrast": (kernels.contrast, timm.contrast, [0.1, 0.5, 1.0, 1.9]),
    "sharpness": (kernels.sharpness, timm.sharpness, [0.1, 0.5, 1.0, 1.9]),
    "posterize": (kernels.posterize, timm.posterize, [1, 2, 4, 8]),
    "solarize": (kernels.solarize, timm.solarize, [0, 100, 255, 256]),
    "solarize_add": (kernels.solarize_add, timm.solarize_add, [0, 60, 110, 128]),
    "invert": (kernels.invert, timm.invert, [0]),
    "auto_contrast": (kernels.auto_contrast, timm.auto_contrast, [0]),
    "equalize": (kernels.equalize, timm.equalize, [0]),
}
UNVALUED = ("invert", "auto_contrast", "equalize")
MOVES: dict[str, tuple[kernels.Kernel, Callable[..., Image.Image], list[float]]] = {
    "shear_x": (kernels.shear_x, timm.shear_x, [-0.3, 0.1, 0.9]),
    "shear_y": (kernels.shear_y, timm.shear_y, [-0.3, 0.1, 0.9]),
    "translate_x": (kernels.translate_x, timm.translate_x_abs, [-7.3, 2.0, 25.0]),
    "translate_y": (kernels.translate_y, timm.translate_y_abs, [-7.3, 2.0, 25.0]),
    "rotate": (kernels.rotate, timm.rotate, [-30.0, 12.0, 100.0]),
}


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("name", [*POINTWISE, *MOVES])
def test_each_change_is_pillows(name: str, in_chans: int) -> None:
    kernel, one_by_one, values = {**POINTWISE, **MOVES}[name]
    images = [smooth(i, in_chans) for i in range(len(values))]
    fill = FILL[:in_chans]
    extra: dict[str, Any] = dict(resample=Image.Resampling.BILINEAR, fillcolor=fill) if name in MOVES else {}
    valued = [[] if name in UNVALUED else [value] for value in values]
    theirs = as_batch([one_by_one(image, *v, **extra) for image, v in zip(images, valued, strict=True)]).int()
    ours = kernel(as_batch(images), torch.tensor(values, dtype=torch.float64), torch.tensor(fill, dtype=torch.uint8)).int()
    apart = (ours - theirs).abs()
    assert float((apart > 1).double().mean()) < (0.02 if name in MOVES else 1e-9)  # a pixel on the edge falls either way


def moments(batches: Any) -> torch.Tensor:  # → n images, 8 numbers of each
    """What many kinds of change move: means by channel and half, spread, steps."""
    x = torch.cat([b.images for b in batches]).double()
    halves = [
        x[..., :10].mean((1, 2, 3)),
        x[..., 10:].mean((1, 2, 3)),
        x[:, :, :8].mean((1, 2, 3)),
        x[:, :, 8:].mean((1, 2, 3)),
    ]
    return torch.stack(
        [*halves, x.mean((2, 3))[:, 0], x.std((1, 2, 3)), (x**2).mean((1, 2, 3)), x.diff(dim=3).abs().mean((1, 2, 3))], 1
    )


@pytest.mark.parametrize("spec", [GREY, SPEC], ids=["grey", "rgb"])
@pytest.mark.parametrize(
    "augment",
    [
        Augment(auto="rand-m9-mstd0.5-inc1"),
        Augment(auto="rand-m5-n1-mstd101-p0.9"),
        Augment(auto="v0r-mstd0.5"),
        Augment(auto="ta_wide"),
        Augment(color_jitter=0.4),
    ],
    ids=lambda augment: augment.auto or "jitter",
)
def test_pictures_differ_from_those_of_the_picture_pipeline_by_chance_alone(augment: Augment, spec: Preprocessing) -> None:
    count = 1500
    one = np.asarray(smooth(3, spec.in_chans))
    images = ArrayImages(np.repeat(one[None], count, 0), np.zeros(count), "one")
    assert fits_memory(images, augment, spec)
    fast = moments(memory_batches(images, augment, spec, batch=500, seed=0))
    transform = training_transform(augment, spec)
    slow = moments(training_batches(images, transform, reading=spec.in_chans, batch=500, seed=0, workers=0))
    for column in range(fast.shape[1]):
        a, b = fast[:, column].sort().values, slow[:, column].sort().values
        at = torch.cat([a, b]) + 0.02  # rounding moves a picture's numbers by a little less
        apart = (torch.searchsorted(a, at) - torch.searchsorted(b, at)).abs().max() / count
        assert float(apart) < 2.2 * (2 / count) ** 0.5, column  # Kolmogorov and Smirnov; 16 numbers, once in a thousand seeds


@pytest.mark.parametrize("name", ["augmix-m3-w3", "3a", "rand-m9-tweights"])
def test_policies_that_have_no_form_for_batches_take_the_other_way(name: str) -> None:
    images = ArrayImages(np.zeros((4, 16, 20, 3), dtype=np.uint8), np.zeros(4), "black")
    assert batch_policy(Augment(auto=name), SPEC) is None
    assert not fits_memory(images, Augment(auto=name), SPEC)


def test_every_change_of_timms_random_policies_has_a_form_for_batches() -> None:
    for name in ("rand-m9", "rand-m9-inc1", "original", "originalr", "v0", "v0r"):
        assert batch_policy(Augment(auto=name), SPEC) is not None, name
    assert set(timm._RAND_TRANSFORMS + timm._RAND_INCREASING_TRANSFORMS) <= TIMM.keys()


def test_an_images_policy_does_not_depend_on_its_batch() -> None:
    pixels = torch.randint(256, (40, 3, 16, 20), dtype=torch.uint8)
    for augment in (Augment(auto="rand-m9-mstd0.5-inc1"), Augment(auto="ta_wide"), Augment(color_jitter=0.5)):
        policy = batch_policy(augment, SPEC)
        assert policy is not None
        whole = policy(pixels, Draws.keyed(0, 0, torch.arange(40)))
        part = policy(pixels[5:8], Draws.keyed(0, 0, torch.arange(5, 8)))
        assert torch.equal(part, whole[5:8])
