"""What augmentation policies do to pictures, for whole batches, each image with a value of its own.

The formulas are Pillow's, which timm's and torchvision's policies call picture by picture.
"""

# axes: b batch, c channels, h w pixels

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as vision

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(pixels b c h w of uint8, values b, fill c) → pixels. The fill comes in where a picture moves away."""


def _moved(pixels: Tensor, matrix: Tensor, fill: Tensor) -> Tensor:  # b c h w, b 2 3, c → b c h w
    """matrix: place in the new picture → place in the old one, in pixels from the upper left corner. Bilinear."""
    height, width = pixels.shape[2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1) @ matrix.float()[:, None].transpose(2, 3)  # b h w (x y)
    places = places / torch.tensor([width, height])
    inside = ((places >= 0) & (places < 1)).all(-1)[:, None]
    found = F.grid_sample(pixels.float(), places * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False)
    return torch.where(inside, (found + 0.5).byte(), fill[:, None, None])


def _matrix(rows: list[list[Tensor | float]], like: Tensor) -> Tensor:  # two rows of three, each a number or b → b 2 3
    return torch.stack([torch.stack([torch.as_tensor(v).expand_as(like) for v in row], -1) for row in rows], 1)


def shear_x(pixels: Tensor, factor: Tensor, fill: Tensor) -> Tensor:
    """Each row moved left by factor times its height from above."""
    return _moved(pixels, _matrix([[1.0, factor, 0.0], [0.0, 1.0, 0.0]], factor), fill)


def shear_y(pixels: Tensor, factor: Tensor, fill: Tensor) -> Tensor:
    """Each column moved up by factor times its distance from the left."""
    return _moved(pixels, _matrix([[1.0, 0.0, 0.0], [factor, 1.0, 0.0]], factor), fill)


def translate_x(pixels: Tensor, shift: Tensor, fill: Tensor) -> Tensor:
    """Moved left by so many pixels."""
    return _moved(pixels, _matrix([[1.0, 0.0, shift], [0.0, 1.0, 0.0]], shift), fill)


def translate_y(pixels: Tensor, shift: Tensor, fill: Tensor) -> Tensor:
    """Moved up by so many pixels."""
    return _moved(pixels, _matrix([[1.0, 0.0, 0.0], [0.0, 1.0, shift]], shift), fill)


def rotate(pixels: Tensor, degrees: Tensor, fill: Tensor) -> Tensor:
    """Turned about the centre, counter-clockwise."""
    cos, sin = (degrees * math.pi / 180).cos(), (degrees * math.pi / 180).sin()
    x, y = pixels.shape[3] / 2, pixels.shape[2] / 2
    return _moved(pixels, _matrix([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]], degrees), fill)


def _blended(plain: Tensor, pixels: Tensor, factor: Tensor) -> Tensor:  # b c h w twice, b → b c h w
    """0: plain; 1: the pixels; between and beyond: on the line through both."""
    return torch.lerp(plain.float(), pixels.float(), factor.float()[:, None, None, None]).clamp_(0, 255).byte()


def brightness(pixels: Tensor, factor: Tensor, fill: Tensor) -> Tensor:
    """0: black; 1: as it is."""
    return _blended(torch.zeros_like(pixels), pixels, factor)


def colour(pixels: Tensor, factor: Tensor, fill: Tensor) -> Tensor:
    """0: grey; 1: as it is."""
    return _blended(_grey(pixels), pixels, factor)


def contrast(pixels: Tensor, factor: Tensor, fill: Tensor) -> Tensor:
    """0: the mean grey everywhere; 1: as it is."""
    mean = (_grey(pixels).float().mean((1, 2, 3), keepdim=True) + 0.5).floor()
    return _blended(mean, pixels, factor)


def sharpness(pixels: Tensor, factor: Tensor, fill: Tensor) -> Tensor:
    """0: smoothed by Pillow's filter, inside a frame of one pixel; 1: as it is."""
    weight = torch.ones(pixels.shape[1], 1, 3, 3)
    weight[:, :, 1, 1] = 5
    smooth = pixels.float()
    smooth[:, :, 1:-1, 1:-1] = (F.conv2d(smooth, weight / 13, groups=pixels.shape[1]) + 0.5).floor()
    return _blended(smooth, pixels, factor)


def _grey(pixels: Tensor) -> Tensor:  # b c h w → b 1 h w, as Pillow weighs colours
    if pixels.shape[1] == 1:
        return pixels
    weights = torch.tensor([19595, 38470, 7471]).reshape(-1, 1, 1)
    return ((pixels * weights).sum(1, keepdim=True) + 0x8000 >> 16).byte()


def posterize(pixels: Tensor, bits: Tensor, fill: Tensor) -> Tensor:
    """The highest bits of each value alone; at least one, as Pillow demands."""
    shift = (8 - bits.clamp(1, 8)).long()
    return pixels & (255 >> shift << shift).byte()[:, None, None, None]


def solarize(pixels: Tensor, threshold: Tensor, fill: Tensor) -> Tensor:
    """Values from the threshold on are inverted."""
    return torch.where(pixels >= threshold[:, None, None, None], 255 - pixels, pixels)


def solarize_add(pixels: Tensor, added: Tensor, fill: Tensor) -> Tensor:
    """Values below 128 become brighter by so much."""
    brighter = (pixels + added.short()[:, None, None, None]).clamp(max=255).byte()
    return torch.where(pixels < 128, brighter, pixels)


def invert(pixels: Tensor, value: Tensor, fill: Tensor) -> Tensor:
    """The negative."""
    return 255 - pixels


def auto_contrast(pixels: Tensor, value: Tensor, fill: Tensor) -> Tensor:
    """Each channel stretched to all of 0 to 255."""
    return vision.autocontrast(pixels)


def equalize(pixels: Tensor, value: Tensor, fill: Tensor) -> Tensor:
    """Each channel's histogram made flat."""
    return vision.equalize(pixels)


def identity(pixels: Tensor, value: Tensor, fill: Tensor) -> Tensor:
    """As it is."""
    return pixels
