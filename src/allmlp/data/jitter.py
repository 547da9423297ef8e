"""Colour jitter as torchvision makes it of single pictures: the same draws and the same values, in half the time."""

# axes: c channels, h w pixels

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import ColorJitter

from allmlp.pixels.tensor import floats_of

GREY = torch.tensor([19595.0, 38470.0, 7471.0])
"""How much of a grey red, green and blue are, in parts of 2¹⁶, as Pillow has it. Float32 holds all sums of them exactly."""


class Jitter(ColorJitter):
    """Brightness, contrast and saturation in any order: each blends with black, the mean grey, or the grey of each pixel.

    strength: factors are drawn from 1 - strength to 1 + strength. After each change values are cut to whole ones from 0 to
    255, as Pillow's are.
    """

    def __init__(self, strength: float) -> None:
        super().__init__(strength, strength, strength)

    def forward(self, img: Image.Image | Tensor) -> Tensor:  # a picture of mode L or RGB, or c h w of uint8 → c h w of float32
        order, brightness, contrast, saturation, _ = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        values = floats_of(img)
        for change in order.tolist():
            if change == 0 and brightness is not None:
                _blend(values, 0.0, brightness)
            elif change == 1 and contrast is not None:
                _blend(values, float(_grey(values).mean(dtype=torch.float64).add_(0.5).floor_()), contrast)
            elif change == 2 and saturation is not None and len(values) > 1:
                _blend(values, _grey(values), saturation)
        return values


def _grey(values: Tensor) -> Tensor:  # c h w → h w
    if len(values) == 1:
        return values[0]
    return (GREY @ values.flatten(1)).add_(0.5 * 2**16).mul_(2.0**-16).floor_().view(values.shape[1:])


def _blend(values: Tensor, plain: Tensor | float, factor: float) -> None:  # c h w, h w
    """In place. 0: plain; 1: as they are; between and beyond: on the line through both."""
    values.sub_(plain).mul_(factor).add_(plain).clamp_(0, 255).floor_()
