"""torchvision's Resize of the shorter side and CenterCrop, without torchvision, which takes long to import."""

# axes: c channels, h w pixels, y x pixels of the crop

import math

from PIL import Image
from torch import Tensor

from allmlp.pixels.resample import resized
from allmlp.pixels.tensor import pixels_of

FAR = 4
"""Where the whole picture would have so many times the crop's pixels (strips, small crops), only those are computed."""
REACH = 2
"""Pixels to either side that the cubic filter takes."""


class ResizedCentre:
    """The centre of a picture of mode L or RGB, whose shorter side is resized first.

    shorter: in pixels; size: (height, width) of the crop, no larger; interpolation: "bilinear" or "bicubic".
    """

    def __init__(self, shorter: int, size: tuple[int, int], interpolation: str) -> None:
        self.shorter, self.size, self.interpolation = shorter, size, interpolation

    def __call__(self, picture: Image.Image) -> Tensor:  # h w → c y x of uint8
        (w, h), (y, x), short = picture.size, self.size, self.shorter
        whole = (int(short * h / w), short) if w <= h else (short, int(short * w / h))
        top, left = (round((full - kept) / 2) for full, kept in zip(whole, self.size, strict=True))
        if whole[0] * whole[1] > FAR * y * x:
            return self._alone(picture, whole, (top, left))
        return resized(picture, whole, self.interpolation)[:, top : top + y, left : left + x]

    def _alone(self, picture: Image.Image, whole: tuple[int, int], at: tuple[int, int]) -> Tensor:  # h w → c y x of uint8
        """Only what the crop keeps, by Pillow, which can begin between two pixels: one axis after the other."""
        (y, x), resample = self.size, Image.Resampling[self.interpolation.upper()]
        down, across = picture.height / whole[0], picture.width / whole[1]
        margin = math.ceil(REACH * max(1.0, down)) + 1
        first, last = max(0, math.floor(at[0] * down) - margin), min(picture.height, math.ceil((at[0] + y) * down) + margin)
        rows = picture.crop((0, first, picture.width, last))
        kept = (at[1] * across, 0, min(picture.width, (at[1] + x) * across), last - first)
        narrow = rows.resize((x, last - first), resample, box=kept)
        place = (0, at[0] * down - first, x, min(last - first, (at[0] + y) * down - first))
        return pixels_of(narrow.resize((x, y), resample, box=place)).permute(2, 0, 1)
