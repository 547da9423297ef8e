"""A checkpoint's preprocessing as tensor operations, so that an exported model can take pictures as they are."""

# axes: b batch, h w pixels of the pictures, y x pixels of the model's input, c channels

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.pixels.preprocess import Preprocessing

HALF = 0.5 + 2**-12
"""Ties are frequent where small numbers divide each other; a little more than one half rounds them up in every program."""

Kernel = Callable[[Tensor], Tensor]


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp_min(0)


def _bicubic(x: Tensor, a: float = -0.5) -> Tensor:
    """Keys' kernel with Pillow's a."""
    x = x.abs()
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, inner, torch.where(x < 2, outer, torch.zeros_like(x)))


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, _sinc(x) * _sinc(x / 3), torch.zeros_like(x))


def _sinc(x: Tensor) -> Tensor:
    turned = math.pi * torch.where(x == 0, torch.ones_like(x), x)
    return torch.where(x == 0, torch.ones_like(x), turned.sin() / turned)


KERNELS: dict[str, tuple[Kernel, float]] = {"bilinear": (_bilinear, 1), "bicubic": (_bicubic, 2), "lanczos": (_lanczos, 3)}
"""Interpolation → (weight by distance, how far it reaches), as in Pillow."""


class PicturesIn(nn.Module):
    """Resize, crop and normalise: pictures b h w c of uint8, all of one size, any size → b c y x.

    Resizing is two products, one along each axis, whose matrices follow from the pictures' size inside the graph; their
    rows are those the crop keeps. In between, values are rounded to whole ones, as Pillow does: results differ from its
    fixed-point arithmetic by one level of 255 in less than one pixel of fifty. Where rows shrink more than columns, as in
    tall pictures, Pillow 13 begins with the other axis, and a quarter of the pixels differ, by a third of a level on average.
    Raises ModelError for a way of cropping other than "center" and "squash".
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: Preprocessing) -> None:
        super().__init__()
        if spec.crop_mode not in ("center", "squash"):
            raise ModelError(f"crop mode {spec.crop_mode!r} is not offered inside a graph", hint="export without preprocessing")
        self.wanted = spec.img_size
        self.scaled = tuple(math.floor(side / spec.crop_ratio) for side in spec.img_size)
        self.squash = spec.crop_mode == "squash"
        self.kernel, self.reach = KERNELS[spec.interpolation]
        for name, values in (("mean", spec.mean), ("std", spec.std)):
            self.register_buffer(name, 255 * torch.tensor(values).reshape(-1, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:  # b h w c → b c y x
        down, across = self._matrices(pictures.shape[1], pictures.shape[2])
        x = pictures.permute(0, 3, 1, 2).float()
        x = (x @ across.T + HALF).floor().clamp(0, 255)
        x = (down @ x + HALF).floor().clamp(0, 255)
        return (x - self.mean) / self.std

    def _matrices(self, height: int, width: int) -> tuple[Tensor, Tensor]:  # → y h, x w
        """torchvision's and timm's rules for the size before the crop."""
        sides = [torch.zeros((), dtype=torch.float64) + side for side in (height, width)]
        if self.squash:
            scaled = [torch.full_like(side, wanted) for side, wanted in zip(sides, self.scaled, strict=True)]
        elif self.scaled[0] == self.scaled[1]:
            shorter = torch.minimum(*sides)
            scaled = [torch.floor(self.scaled[0] * side / shorter) for side in sides]
        else:
            ratio = torch.minimum(sides[0] / self.scaled[0], sides[1] / self.scaled[1])
            scaled = [torch.round(side / ratio) for side in sides]
        made = zip((height, width), sides, scaled, self.wanted, strict=True)
        down, across = (self._matrix(count, side, goal, wanted) for count, side, goal, wanted in made)
        return down, across

    def _matrix(self, count: int, side: Tensor, scaled: Tensor, wanted: int) -> Tensor:  # → wanted × count
        """The rows that a centre crop keeps of the matrix that resizes `side` pixels to `scaled`."""
        scale = side / scaled
        wide = scale.clamp_min(1)
        first = torch.round((scaled - wanted) / 2)
        centre = ((torch.arange(wanted, dtype=torch.float64) + first + 0.5) * scale)[:, None]
        place = torch.arange(count, dtype=torch.float64)[None]
        inside = (place >= torch.floor(centre - self.reach * wide + 0.5)) & (
            place < torch.floor(centre + self.reach * wide + 0.5)
        )
        weight = torch.where(inside, self.kernel((place - centre + 0.5) / wide), torch.zeros_like(place - centre))
        return (weight / weight.sum(1, keepdim=True)).float()
