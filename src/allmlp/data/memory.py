"""Batches of small images that lie in memory: the same distributions as `transforms.py`, fifty times faster; random parts of
32 pixels four times."""

# axes: b batch, c channels, h w pixels

from collections.abc import Sequence
from copy import copy
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from allmlp.data.boxes import REACH, boxes, resized_parts
from allmlp.data.changes import cut_out, erased, flipped, shifted
from allmlp.data.draws import Draws
from allmlp.data.images import ArrayImages, Images
from allmlp.data.loader import Batch, Key, Order, Samples, batch_loader
from allmlp.data.policy import Policy, jitter_policy, timm_policy, trivial_policy
from allmlp.data.transforms import SMALL, TRIVIAL, fill, image_policy
from allmlp.pixels.preprocess import Preprocessing, resized_here
from allmlp.pixels.resample import resized
from allmlp.recipe import Augment

UNCHANGED = Augment(crop="none", flip=0.0)
"""For validation."""


def fits_memory(images: Images, augment: Augment, preprocessing: Preprocessing) -> TypeGuard[ArrayImages]:
    """Whether these images need nothing but what can be done to whole batches."""
    if not isinstance(images, ArrayImages):
        return False
    if augment.crop == "resized":  # there timm's policies turn and shear by the model's filter, and `kernels` is bilinear
        bilinear = augment.auto in ("", TRIVIAL) or preprocessing.interpolation == "bilinear"
        fits = bilinear and preprocessing.interpolation in REACH and max(images.img_size) <= SMALL
    else:
        fits = images.img_size == preprocessing.img_size and preprocessing.crop_ratio == 1.0
    return (
        fits
        and images.in_chans in (1, preprocessing.in_chans)
        and max(preprocessing.img_size) <= SMALL
        and (not (augment.auto or augment.color_jitter) or batch_policy(augment, preprocessing) is not None)
    )


def at_model_size(images: Images, preprocessing: Preprocessing) -> Images:
    """Images in memory, resized once where the model takes them at another small size; all others as they are.

    The pixels are those that each would get whenever its turn came.
    """
    (height, width), mode = preprocessing.img_size, Image.Resampling[preprocessing.interpolation.upper()]
    if (
        not isinstance(images, ArrayImages)
        or images.img_size == (height, width)
        or images.img_size[0] * width != images.img_size[1] * height
        or images.in_chans not in (1, preprocessing.in_chans)
        or preprocessing.crop_ratio != 1.0
        or max(height, width) > SMALL
    ):
        return images

    def made(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:  # h w c or h w, the same of the model's size
        picture = Image.fromarray(pixels)
        if not resized_here(preprocessing):
            return np.asarray(picture.resize((width, height), mode))
        found = resized(picture, (height, width), preprocessing.interpolation).permute(1, 2, 0).numpy()
        return found.reshape(height, width, *pixels.shape[2:])

    other = copy(images)
    other.pixels = np.stack([made(pixels) for pixels in images.pixels])
    return other


def batch_policy(augment: Augment, preprocessing: Preprocessing) -> Policy | None:
    """What changes colours and shapes in whole batches; None where that is not asked for, or cannot be done so."""
    if augment.auto == TRIVIAL:
        return trivial_policy((0,) * preprocessing.in_chans)
    if augment.auto:
        return timm_policy(image_policy(augment, preprocessing), fill(preprocessing))
    return jitter_policy(augment.color_jitter, fill(preprocessing)) if augment.color_jitter else None


def memory_batches(
    images: ArrayImages,
    augment: Augment,
    preprocessing: Preprocessing,
    *,
    batch: int,
    seed: int | None,
    workers: int = 0,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Batch]:
    """As `training_batches`, or as `plain_batches` where the seed is None, for images that `fits_memory`.

    workers: of use to random parts alone; everything else is made faster than it is handed over.
    """
    shares: dict[str, Any] = {"rank": rank, "world": world, "repeats": 1 if seed is None else augment.repeats}
    order = Order(len(images), min(batch, len(images)), seed=seed, drop_last=seed is not None, **shares)
    return batch_loader(MemorySamples(images, augment, preprocessing, seed), order, workers if augment.crop == "resized" else 0)


class MemorySamples(Samples):
    """Whole batches by (pass, index); an image's changes depend on those and the seed, not on the rest of its batch."""

    def __init__(self, images: ArrayImages, augment: Augment, preprocessing: Preprocessing, seed: int | None) -> None:
        super().__init__(images, preprocessing, preprocessing.reading, seed)
        pixels = torch.from_numpy(images.pixels)
        self.pixels = pixels if pixels.dim() == 4 else pixels[..., None]  # n h w c
        self.targets = torch.from_numpy(images.labels)
        self.augment = augment
        self.policy = batch_policy(augment, preprocessing)
        self.size, self.interpolation = preprocessing.img_size, preprocessing.interpolation
        self.mean, self.std = (torch.tensor(v).reshape(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        indices = torch.tensor([index for _, index in keys])
        pixels = self.pixels[indices].permute(0, 3, 1, 2).contiguous()  # b c h w
        if self.seed is None:
            return Batch(self._normalised(pixels), self.targets[indices], indices, [])
        draws = Draws.keyed(self.seed, [number for number, _ in keys], indices)
        pixels = flipped(self._cropped(pixels, draws), self.augment.flip, draws)
        if self.policy is not None:
            pixels = self.policy(pixels.expand(-1, self.reading.in_chans, -1, -1), draws)
        images = cut_out(self._normalised(pixels), self.augment.cutout, draws)
        images = erased(images, self.augment.erase, draws)
        return Batch(images, self.targets[indices], indices, [])

    def _cropped(self, pixels: Tensor, draws: Draws) -> Tensor:  # b c h w → b c y x
        if self.augment.crop == "resized":
            chosen = boxes(draws, pixels.shape[2], pixels.shape[3], (self.augment.min_area, 1.0))
            return resized_parts(pixels, chosen, self.size, self.interpolation)
        return shifted(pixels, 0 if self.augment.crop == "none" else self.augment.padding, draws)

    def _normalised(self, pixels: Tensor) -> Tensor:  # b 1 h w or b c h w → b c h w
        return (pixels / 255).sub(self.mean).div_(self.std)
