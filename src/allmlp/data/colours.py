"""Random changes of colour and sharpness to a batch of parts of pictures, each with numbers of its own.

Those of DINO (Caron et al., 2021) and BYOL, whose reference pipelines change picture by picture; here brightness, contrast,
saturation and hue always come in this order.
"""

# axes: b batch, c channels, h w pixels; values in [0, 1]

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.data.draws import Draws

GREY = (0.299, 0.587, 0.114)
"""How much of the light each of red, green and blue is (ITU-R 601)."""
TO_YIQ = torch.tensor([GREY, (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135)], dtype=torch.float64)
"""Red, green, blue → light and two axes of colour, about which hue turns."""
BLUR, TAPS = (0.1, 2.0), 13
"""Deviation of the blur in pixels, and the pixels it reaches over."""


def jittered(
    images: Tensor, strength: tuple[float, float, float, float], probability: float, draws: Draws
) -> Tensor:  # b c h w → b c h w
    """Brightness, contrast, and of coloured pictures saturation and hue, of some of the images."""
    chosen = draws.chance(probability)[:, None, None, None]
    bright, contrast, saturation = (draws.between(max(0.0, 1 - s), 1 + s).float()[:, None, None, None] for s in strength[:3])
    angle = draws.between(-strength[3], strength[3]) * 2 * math.pi
    changed = (images * bright).clamp_(0, 1)
    changed = torch.lerp(_light(changed).mean((2, 3), keepdim=True), changed, contrast).clamp_(0, 1)
    if images.shape[1] == 3:
        changed = torch.lerp(_light(changed), changed, saturation).clamp_(0, 1)
        changed = turned(changed, angle).clamp_(0, 1)
    return torch.where(chosen, changed, images)


def turned(images: Tensor, angle: Tensor) -> Tensor:  # b 3 h w, b radians → b 3 h w
    """Hues turned about grey, light kept."""
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = [torch.stack(row, -1) for row in ((zero + 1, zero, zero), (zero, cos, -sin), (zero, sin, cos))]
    matrix = TO_YIQ.inverse() @ torch.stack(rows, 1) @ TO_YIQ  # b 3 3
    return torch.bmm(matrix.float(), images.flatten(2)).view_as(images)


def greyed(images: Tensor, probability: float, draws: Draws) -> Tensor:  # b c h w → b c h w
    """Some of the images without colour."""
    chosen = draws.chance(probability)[:, None, None, None]
    return torch.where(chosen, _light(images), images) if images.shape[1] == 3 else images


def blurred(images: Tensor, probability: float, draws: Draws) -> Tensor:  # b c h w → b c h w
    """Some of the images through a Gaussian of random width."""
    chosen = draws.chance(probability)
    mine = draws.of(chosen)
    if not chosen.any():
        return images
    some = images[chosen]
    b, c, _, _ = some.shape
    places = torch.arange(TAPS) - TAPS // 2
    taps = torch.exp(-0.5 * (places / mine.between(*BLUR)[:, None]) ** 2)
    taps = (taps / taps.sum(1, keepdim=True)).float().repeat_interleave(c, 0)[:, None]  # (b c) 1 t
    flat = some.reshape(1, b * c, *some.shape[2:])
    for kernel, reach in ((taps[..., None], (0, 0, TAPS // 2, TAPS // 2)), (taps[..., None, :], (TAPS // 2, TAPS // 2, 0, 0))):
        flat = F.conv2d(F.pad(flat, reach, mode="replicate"), kernel, groups=b * c)
    images = images.clone()
    images[chosen] = flat.view_as(some)
    return images


def solarized(images: Tensor, probability: float, draws: Draws) -> Tensor:  # b c h w → b c h w
    """The lighter half of the values inverted, in some of the images."""
    chosen = draws.chance(probability)[:, None, None, None]
    return torch.where(chosen & (images >= 0.5), 1 - images, images)


def _light(images: Tensor) -> Tensor:  # b c h w → b 1 h w
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(GREY)
    return (images * weights[:, None, None]).sum(1, keepdim=True)
