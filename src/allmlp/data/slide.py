"""timm's shears and shifts of single pictures along one axis, in a third of Pillow's time.

Pillow computes 16 weights for every pixel; where rows only slide along themselves, the 4 of its row do.
"""

# axes: c channels, h w pixels; rows slide along w

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP
from torch import Tensor
from torch.nn import functional as F

from allmlp.pixels.tensor import floats_of, picture_of

CUT = 2.0**-10
"""Added before values are cut to whole ones: the rounding of float32 must not take a sum a little below one to the next."""


def slid(values: Tensor, shear: float, shift: float, fill: tuple[int, ...]) -> Tensor:  # c h w, 0 to 255 → c h w of uint8
    """Row y shows what was shear · (y + ½) + shift pixels further right, between pixels by Pillow's cubic filter.

    fill: what comes in from outside, for each channel.
    """
    h, w = values.shape[1:]
    offsets = h if shear else 1
    offset = (shear * (torch.arange(offsets, dtype=torch.float64) + 0.5) + shift).clamp(-w - 1, w + 1)
    start = offset.floor()
    d = (offset - start).float()[:, None]
    left, right = max(0, 1 - int(start.min())), max(0, int(start.max()) + 2)
    framed = F.pad(values[None], (left, right, 0, 0), mode="replicate")[0]
    place = start.long() + left - 1
    rows = framed.unfold(2, w + 3, 1)[:, torch.arange(h), place] if shear else framed[..., int(place) :]  # c h (w + 3 or more)
    made = rows[..., :w] * (d * (d * (2 - d) - 1))
    made.addcmul_(rows[..., 1 : w + 1], 1 - d * d * (2 - d))
    made.addcmul_(rows[..., 2 : w + 2], d * (1 + d * (1 - d)))
    made.addcmul_(rows[..., 3 : w + 3], d * d * (d - 1))
    made.add_(CUT).clamp_(0, 255)
    first, end = ((edge - 0.5 - offset).ceil().float()[:, None] for edge in (0, w))
    x = torch.arange(w, dtype=torch.float32)
    outside = (x < first).logical_or_(x >= end)
    for channel, value in zip(made, fill, strict=True):
        channel.masked_fill_(outside, value)
    return made.byte()


SLIDES = {"ShearX": "x", "ShearY": "y", "TranslateXRel": "x", "TranslateYRel": "y"}
"""timm's name → the axis along which pixels slide."""


@dataclass(frozen=True)
class Slide:
    """timm's function of that name, one of SLIDES; its own where it is asked for another filter than the cubic one."""

    name: str

    def __call__(self, img: Image.Image, value: float, *, fillcolor: tuple[int, ...], resample: object) -> Image.Image:
        if resample is not Image.Resampling.BICUBIC or img.mode not in ("L", "RGB"):
            plain: Callable[..., Image.Image] = NAME_TO_OP[self.name]  # type: ignore[assignment]
            return plain(img, value, fillcolor=fillcolor, resample=resample)
        values = floats_of(img) if SLIDES[self.name] == "x" else floats_of(img).mT.contiguous()
        shear, shift = (value, 0.0) if self.name.startswith("Shear") else (0.0, value * values.shape[2])
        pixels = slid(values, shear, shift, fillcolor)
        return picture_of(pixels if SLIDES[self.name] == "x" else pixels.mT.contiguous())
