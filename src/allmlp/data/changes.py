"""Random changes to a whole batch at once: the same distributions as `transforms.py` gives picture by picture."""

# axes: b batch, c channels, h w pixels

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.data.draws import Draws

ERASED_AREA, ERASED_ASPECT, ERASING_TRIES = (0.02, 1 / 3), (0.3, 1 / 0.3), 10
"""timm's random erasing (after Zhong et al., 2017): share of the picture, height to width, tries to fit inside it."""


def shifted(pixels: Tensor, padding: int, draws: Draws) -> Tensor:  # b c h w → b c h w
    """Each image moved by a whole number of pixels in [-padding, padding] along both axes, zeros coming in."""
    if not padding:
        return pixels
    height, width = pixels.shape[2:]
    framed = F.pad(pixels, [padding] * 4)
    windows = framed.unfold(2, height, 1).unfold(3, width, 1)  # b c down right h w, without copying
    down, right = draws.below(2 * padding + 1, 2).T
    return windows[torch.arange(len(pixels)), :, down, right]


def flipped(pixels: Tensor, probability: float, draws: Draws) -> Tensor:  # b c h w → b c h w
    """Each image mirrored left to right with this probability."""
    if not probability:
        return pixels
    chosen = draws.chance(probability)
    pixels = pixels.clone()
    pixels[chosen] = pixels[chosen].flip(-1)
    return pixels


def erased(images: Tensor, probability: float, draws: Draws) -> Tensor:  # b c h w → b c h w
    """Normalised images, with this probability each with a random rectangle of noise in it, as timm's mode "pixel"."""
    if not probability:
        return images
    chosen = draws.chance(probability)
    draws = draws.of(chosen)
    height, width = images.shape[2:]
    area = height * width * draws.between(*ERASED_AREA, ERASING_TRIES)
    aspect = draws.between(math.log(ERASED_ASPECT[0]), math.log(ERASED_ASPECT[1]), ERASING_TRIES).exp()
    tall, wide = (area * aspect).sqrt().round().long(), (area / aspect).sqrt().round().long()  # b tries
    fits = (tall < height) & (wide < width)
    first = fits.long().argmax(1, keepdim=True)
    tall, wide = (torch.where(fits.any(1), side.gather(1, first)[:, 0], 0) for side in (tall, wide))
    top, left = draws.below(height - tall + 1), draws.below(width - wide + 1)
    noise = draws.normal(*images.shape[1:])
    inside = _boxes(top, top + tall, height)[:, None, :, None] & _boxes(left, left + wide, width)[:, None, None, :]
    images = images.clone()
    images[chosen] = torch.where(inside, noise, images[chosen])
    return images


def cut_out(images: Tensor, side: int, draws: Draws) -> Tensor:  # b c h w → b c h w
    """Normalised images, each with a square of zeros around a random pixel (Cutout: DeVries, Taylor, 2017)."""
    if not side:
        return images
    height, width = images.shape[2:]
    top, left = (draws.below(length) - side // 2 for length in (height, width))
    inside = _boxes(top, top + side, height)[:, None, :, None] & _boxes(left, left + side, width)[:, None, None, :]
    return images.masked_fill(inside, 0)


def _boxes(start: Tensor, end: Tensor, length: int) -> Tensor:  # b, b → b length
    """True from start up to end, along one axis."""
    places = torch.arange(length)
    return (places >= start[:, None]) & (places < end[:, None])
