"""The random pipeline for training images: timm's and torchvision's parts, in timm's order."""

# axes: c channels, h w pixels

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, augment_and_mix_transform, auto_augment_transform, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import str_to_interp_mode
from torch import Tensor
from torchvision import transforms

from allmlp.data.crop import RandomPart
from allmlp.data.jitter import Jitter
from allmlp.data.slide import SLIDES, Slide
from allmlp.errors import RecipeError
from allmlp.pixels.preprocess import Preprocessing, Transform
from allmlp.pixels.resample import MODES
from allmlp.pixels.tensor import ToNormalised, in_one_buffer, picture_of
from allmlp.recipe import Augment

SMALL = 64
"""Up to this many pixels a side, "auto" shifts whole pictures: parts of them show too little."""

TRIVIAL, CIFAR, THREE = "ta_wide", "cifar10", "3a"
"""augment.auto's names of TrivialAugment with its wide space and of AutoAugment for CIFAR-10, which are torchvision's, and of
DeiT III's three-augment; that and every other name is timm's."""


def training_transform(augment: Augment, preprocessing: Preprocessing) -> Transform:  # picture → c h w
    """Crop, flip, colour, policy, normalise, erase. Raises RecipeError for a policy timm does not know."""
    crop = crop_of(augment, preprocessing.img_size)
    if crop == "resized":
        return _part_of_picture(augment, preprocessing)
    return transforms.Compose(_whole_picture(augment, preprocessing, augment.padding if crop == "pad" else 0))


def crop_of(augment: Augment, img_size: tuple[int, int]) -> str:
    """The kind of crop, "auto" resolved."""
    return augment.crop if augment.crop != "auto" else "pad" if max(img_size) <= SMALL else "resized"


def scaled(augment: Augment, img_size: tuple[int, int], meant_for: tuple[int, int]) -> Augment:
    """The same changes for pictures of another size: the same kind of crop, and what counts pixels in proportion."""
    if img_size == meant_for:
        return augment
    factor = min(now / then for now, then in zip(img_size, meant_for, strict=True))
    pixels = {name: round(getattr(augment, name) * factor) for name in ("padding", "cutout")}
    return replace(augment, crop=crop_of(augment, meant_for), **pixels)  # type: ignore[arg-type]


def _part_of_picture(augment: Augment, preprocessing: Preprocessing) -> transforms.Compose:
    """As the papers' recipes: a random part of the picture, and the rest, all as timm makes it."""
    ours = augment.auto in (TRIVIAL, CIFAR, "")
    with _known_to_timm(augment.auto):
        pipeline = create_transform(
            input_size=(preprocessing.in_chans, *preprocessing.img_size),
            is_training=True,
            scale=(augment.min_area, 1.0),
            hflip=augment.flip,
            color_jitter=None if ours else augment.color_jitter or None,  # type: ignore[arg-type]
            auto_augment=None if ours else augment.auto or None,
            interpolation=preprocessing.interpolation,
            mean=preprocessing.mean,
            std=preprocessing.std,
            re_prob=augment.erase,
            re_mode="pixel",
        )
    steps = in_one_buffer(pipeline.transforms)
    place = next(i for i, step in enumerate(steps) if isinstance(step, ToNormalised))
    if augment.cutout:
        steps.insert(place + 1, Cutout(augment.cutout))
    if ours and (policy := image_policy(augment, preprocessing)) is not None:
        steps.insert(place, policy)
    if preprocessing.interpolation in MODES:
        part = RandomPart(preprocessing.img_size, augment.min_area, preprocessing.interpolation)
        steps[:1] = [part, picture_of] if augment.auto else [part]
    for step in steps:
        _hint(step)
    return transforms.Compose(steps)


def _whole_picture(augment: Augment, preprocessing: Preprocessing, padding: int) -> list[Any]:
    """For small pictures: resize if need be, shift by up to `padding`, and the rest as timm orders it."""
    mode = str_to_interp_mode(preprocessing.interpolation)
    steps: list[Any] = [_ResizeUnlessSame(preprocessing.img_size, mode)]
    if padding:
        steps.append(transforms.RandomCrop(preprocessing.img_size, padding=padding))
    if augment.flip:
        steps.append(transforms.RandomHorizontalFlip(augment.flip))
    policy = image_policy(augment, preprocessing)
    if policy is not None:
        steps.append(policy)
    steps.append(ToNormalised(preprocessing.mean, preprocessing.std))
    if augment.cutout:
        steps.append(Cutout(augment.cutout))
    if augment.erase:
        steps.append(RandomErasing(augment.erase, mode="pixel", device="cpu"))
    return steps


def image_policy(augment: Augment, preprocessing: Preprocessing) -> Any:
    """What changes colours and shapes: timm's policy, TrivialAugment, AutoAugment for CIFAR-10 or, as
    timm does without one and after three-augment, colour jitter; or None.

    Raises RecipeError for a name that is not known.
    """
    if augment.auto == TRIVIAL:
        return transforms.TrivialAugmentWide(interpolation=transforms.InterpolationMode.BILINEAR)
    if augment.auto == CIFAR:
        return transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10, fill=list(fill(preprocessing)))
    jitter = Jitter(augment.color_jitter) if augment.color_jitter else None
    if not augment.auto:
        return jitter
    hints = {"translate_const": int(min(preprocessing.img_size) * 0.45), "img_mean": fill(preprocessing)}
    makers = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
    make = next((make for start, make in makers.items() if augment.auto.startswith(start)), auto_augment_transform)
    with _known_to_timm(augment.auto):
        policy = make(augment.auto, hints)
    _hint(policy)
    return transforms.Compose([policy, jitter]) if augment.auto == THREE and jitter is not None else policy


@contextmanager
def _known_to_timm(name: str) -> Iterator[None]:
    """timm says in many ways that it does not know a policy."""
    try:
        yield
    except (AssertionError, KeyError, ValueError, IndexError):
        raise RecipeError(
            f"augment.auto is {name!r}, which timm does not know",
            hint=f"use a name such as rand-m9-mstd0.5-inc1 or augmix-m3-w3 or {TRIVIAL}",
        ) from None


def fill(preprocessing: Preprocessing) -> tuple[int, ...]:
    """The mean colour, which timm's policies let in where a picture moves away."""
    return tuple(min(255, round(255 * m)) for m in preprocessing.mean)


class Cutout:
    """A square of zeros around a random pixel of a normalised picture (DeVries, Taylor, 2017)."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, image: Tensor) -> Tensor:  # c h w → c h w
        top, left = (random.randrange(length) - self.side // 2 for length in image.shape[1:])
        image = image.clone()
        image[:, max(top, 0) : max(top + self.side, 0), max(left, 0) : max(left + self.side, 0)] = 0
        return image


class _ResizeUnlessSame(transforms.Resize):
    """Small sets mostly have the model's size already, and torchvision's resize is not free then."""

    def forward(self, img: Image.Image) -> Image.Image:
        return img if img.size == (self.size[1], self.size[0]) else super().forward(img)


def _hint(policy: Any) -> None:
    """Puts into timm's policy what is faster (`slide`), and one bit where its increasing Posterize asks for none.

    Pillow 13 refuses that with a ValueError (seen with timm 1.0.31, rand-m9-mstd0.5-inc1). To go when timm clamps it.
    """
    choices = getattr(policy, "policy", ())  # a list of timm's; torchvision's is a name
    for op in [*getattr(policy, "ops", ()), *chain.from_iterable(choices if isinstance(choices, list) else ())]:
        if isinstance(op, AugmentOp) and op.name.startswith("Posterize"):
            op.level_fn = _at_least_one_bit(op.level_fn)  # type: ignore[arg-type]
        if isinstance(op, AugmentOp) and op.name in SLIDES:
            op.aug_fn = Slide(op.name)  # type: ignore[assignment]


class _at_least_one_bit:  # noqa: N801 - a function that worker processes can pickle
    def __init__(self, level_fn: Callable[..., tuple[int, ...]]) -> None:
        self.level_fn = level_fn

    def __call__(self, *arguments: Any) -> tuple[int, ...]:
        return tuple(max(1, bits) for bits in self.level_fn(*arguments))
