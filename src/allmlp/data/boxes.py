"""Random parts of all pictures of a batch, and the resizing of each part to one size as matrix products."""

# axes: b batch, c channels, h w pixels of a picture, y x pixels of a part

import math
from functools import lru_cache

import torch
from torch import Tensor

from allmlp.data.draws import Draws

ASPECT, TRIES = (3 / 4, 4 / 3), 10
"""Width to height of a part, and how often one is drawn until it fits (torchvision's and timm's random resized crop)."""
REACH = {"bilinear": 1.0, "bicubic": 2.0}
"""How far from its centre each of Pillow's filters goes, in pixels of the coarser of both pictures."""


def boxes(draws: Draws, height: int, width: int, area: tuple[float, float]) -> Tensor:  # → b (top left tall wide)
    """Of random shares and shapes, wholly inside a picture of this size; the middle of it where no shape fits."""
    size = height * width * draws.between(*area, TRIES)
    aspect = draws.between(math.log(ASPECT[0]), math.log(ASPECT[1]), TRIES).exp()
    tall, wide = (size / aspect).sqrt().round().long(), (size * aspect).sqrt().round().long()  # b tries
    fits = (tall <= height) & (wide <= width) & (tall > 0) & (wide > 0)
    first, any_fits = fits.long().argmax(1, keepdim=True), fits.any(1)
    whole = min(height, round(width / ASPECT[0])), min(width, round(height * ASPECT[1]))
    tall, wide = (torch.where(any_fits, s.gather(1, first)[:, 0], w) for s, w in zip((tall, wide), whole, strict=True))
    free = height - tall, width - wide
    top, left = (torch.where(any_fits, draws.below(room + 1), room // 2) for room in free)
    return torch.stack([top, left, tall, wide], 1)


def resized_parts(
    pixels: Tensor, chosen: Tensor, size: tuple[int, int], interpolation: str
) -> Tensor:  # b c h w of uint8, b 4 → b c y x of uint8
    """Each picture's box, resized to (height, width) as `pixels.resample.resized` does: along x first, whole levels between.

    At most two levels apart: the weights here are not rounded, and halves, frequent with "bilinear", may go the other way.
    interpolation: one of REACH.
    """
    (top, left, tall, wide), (b, c, height, width) = chosen.T, pixels.shape
    along_x = resampling(left, wide, width, size[1], interpolation)  # b w x
    along_y = resampling(top, tall, height, size[0], interpolation).transpose(1, 2)  # b y h
    with torch.autocast("cpu", enabled=False):  # whole levels need more than bf16's eight bits
        rows = _levels(torch.bmm(pixels.float().reshape(b, c * height, width), along_x))
        return _levels(torch.matmul(along_y[:, None], rows.view(b, c, height, -1))).byte()


def resampling(start: Tensor, length: Tensor, given: int, wanted: int, interpolation: str) -> Tensor:  # b, b → b given wanted
    """What each of `wanted` pixels takes of the `given` ones, if the `length` from `start` on are resized as by Pillow."""
    places = torch.arange(given, 2 * given) - start[:, None]
    return _weights(given, wanted, interpolation)[length[:, None] - 1, places]


@lru_cache(maxsize=16)
def _weights(given: int, wanted: int, interpolation: str) -> Tensor:  # → length - 1, given + place in the part, wanted
    """For parts of each length up to `given`; zero at places before and behind a part."""
    length = torch.arange(1, given + 1, dtype=torch.float64)[:, None, None]
    scale = length / wanted
    stretch, reach = scale.clamp(min=1), REACH[interpolation]
    centre = (torch.arange(wanted) + 0.5) * scale  # length 1 wanted
    place = torch.arange(-given, given)[:, None]
    first = (centre - reach * stretch + 0.5).floor().clamp(min=0)
    end = torch.minimum((centre + reach * stretch + 0.5).floor(), length)
    weights = _filter((place - centre + 0.5) / stretch, interpolation) * ((place >= first) & (place < end))
    return (weights / weights.sum(1, keepdim=True)).float()


def _filter(x: Tensor, interpolation: str) -> Tensor:
    x = x.abs()
    if interpolation == "bilinear":
        return (1 - x).clamp(min=0)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((x - 5) * x + 8) * x * -0.5 + 2  # Keys' cubic, a = -1/2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _levels(values: Tensor) -> Tensor:
    """Whole ones from 0 to 255."""
    return values.add_(0.5).floor_().clamp_(0, 255)
