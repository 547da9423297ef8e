"""The random pipeline for training images: timm's and torchvision's parts, in timm's order."""

# axes: c channels, h w pixels

from collections.abc import Callable
from itertools import chain
from typing import Any

from PIL import Image
from timm.data import create_transform
from timm.data.auto_augment import AugmentOp, augment_and_mix_transform, auto_augment_transform, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms import str_to_interp_mode
from torch import Tensor
from torchvision import transforms

from allmlp.errors import RecipeError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment

SMALL = 64
"""Up to this many pixels a side, "auto" shifts whole pictures: parts of them show too little."""

Transform = Callable[[Image.Image], Tensor]


def training_transform(augment: Augment, preprocessing: Preprocessing) -> Transform:  # picture → c h w
    """Crop, flip, colour, policy, normalise, erase. Raises RecipeError for a policy timm does not know."""
    height, width = preprocessing.img_size
    crop = augment.crop
    if crop == "auto":
        crop = "pad" if max(height, width) <= SMALL else "resized"
    try:
        if crop == "resized":
            pipeline = create_transform(
                input_size=(preprocessing.in_chans, height, width),
                is_training=True,
                scale=(augment.min_area, 1.0),
                hflip=augment.flip,
                color_jitter=augment.color_jitter or None,  # type: ignore[arg-type]
                auto_augment=augment.auto or None,
                interpolation=preprocessing.interpolation,
                mean=preprocessing.mean,
                std=preprocessing.std,
                re_prob=augment.erase,
                re_mode="pixel",
            )
        else:
            pipeline = transforms.Compose(_whole_picture(augment, preprocessing, augment.padding if crop == "pad" else 0))
    except (AssertionError, KeyError, ValueError, IndexError):
        raise RecipeError(
            f"augment.auto is {augment.auto!r}, which timm does not know",
            mend="use a name such as rand-m9-mstd0.5-inc1 or augmix-m3-w3",
        ) from None
    _guard_posterize(pipeline)
    return pipeline


def _whole_picture(augment: Augment, preprocessing: Preprocessing, padding: int) -> list[Any]:
    """For small pictures: resize if need be, shift by up to `padding`, and the rest as timm orders it."""
    mode = str_to_interp_mode(preprocessing.interpolation)
    steps: list[Any] = [_ResizeUnlessSame(preprocessing.img_size, mode)]
    if padding:
        steps.append(transforms.RandomCrop(preprocessing.img_size, padding=padding))
    if augment.flip:
        steps.append(transforms.RandomHorizontalFlip(augment.flip))
    if augment.auto:
        fill = tuple(min(255, round(255 * m)) for m in preprocessing.mean)
        hints = {"translate_const": int(min(preprocessing.img_size) * 0.45), "img_mean": fill}
        steps.append(_policy(augment.auto)(augment.auto, hints))
    elif augment.color_jitter:  # as timm: a policy changes colours by itself
        steps.append(transforms.ColorJitter(*[augment.color_jitter] * 3))
    steps += [transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)]
    if augment.erase:
        steps.append(RandomErasing(augment.erase, mode="pixel", device="cpu"))
    return steps


def _policy(name: str) -> Callable[..., Any]:
    """timm's maker of the policies whose names begin like this one."""
    makers = {"rand": rand_augment_transform, "augmix": augment_and_mix_transform}
    return next((make for start, make in makers.items() if name.startswith(start)), auto_augment_transform)


class _ResizeUnlessSame(transforms.Resize):
    """Small sets mostly have the model's size already, and torchvision's resize is not free then."""

    def forward(self, img: Image.Image) -> Image.Image:
        return img if img.size == (self.size[1], self.size[0]) else super().forward(img)


def _guard_posterize(pipeline: transforms.Compose) -> None:
    """timm's increasing Posterize can ask for 0 bits, which Pillow 13 refuses with a ValueError (seen with
    timm 1.0.31, rand-m9-mstd0.5-inc1); one bit is the strongest it means. To go when timm clamps it."""
    for step in pipeline.transforms:
        for op in [*getattr(step, "ops", ()), *chain.from_iterable(getattr(step, "policy", ()))]:
            if isinstance(op, AugmentOp) and op.name.startswith("Posterize"):
                op.level_fn = _at_least_one_bit(op.level_fn)  # type: ignore[arg-type]


class _at_least_one_bit:  # noqa: N801 - a function that worker processes can pickle
    def __init__(self, level_fn: Callable[..., tuple[int, ...]]) -> None:
        self.level_fn = level_fn

    def __call__(self, *arguments: Any) -> tuple[int, ...]:
        return tuple(max(1, bits) for bits in self.level_fn(*arguments))
