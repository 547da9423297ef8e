"""Picture → normalised tensor in one buffer: fresh large tensors are what torchvision's two steps cost most by."""

# axes: c channels, h w pixels

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class ToNormalised:
    """torchvision's ToTensor and Normalize, equal to the bit, for pictures of one byte a channel."""

    def __init__(self, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor) -> None:
        self.mean = torch.as_tensor(mean, dtype=torch.float32).reshape(-1, 1, 1)
        self.std = torch.as_tensor(std, dtype=torch.float32).reshape(-1, 1, 1)

    def __call__(self, picture: Image.Image | Tensor) -> Tensor:  # → c h w
        """Of a picture, its pixels (c h w of uint8), or floats from 0 to 255, which are changed in place."""
        return floats_of(picture).div_(255).sub_(self.mean).div_(self.std)


def pixels_of(picture: Image.Image) -> Tensor:  # → h w c of uint8
    """As they are, in memory of their own."""
    return torch.from_numpy(np.array(picture)).reshape(picture.height, picture.width, -1)


def picture_of(pixels: Tensor) -> Image.Image:  # c h w of uint8, for one channel or three
    """Band by band: far faster than with the channels brought innermost first."""
    bands = [Image.fromarray(channel.numpy()) for channel in pixels]
    return bands[0] if len(bands) == 1 else Image.merge("RGB", bands)


def floats_of(picture: Image.Image | Tensor) -> Tensor:  # → c h w of float32, 0 to 255
    """Of a picture, or of its pixels, c h w."""
    pixels = picture if isinstance(picture, Tensor) else pixels_of(picture).permute(2, 0, 1)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format)


def in_one_buffer(steps: Sequence[Any]) -> list[Any]:
    """timm's or torchvision's steps, with ToTensor and the Normalize right after it as one."""
    from timm.data.transforms import MaybeToTensor
    from torchvision import transforms

    merged: list[Any] = []
    for step in steps:
        if isinstance(step, transforms.Normalize) and merged and isinstance(merged[-1], transforms.ToTensor | MaybeToTensor):
            merged[-1] = ToNormalised(step.mean, step.std)
        else:
            merged.append(step)
    return merged
