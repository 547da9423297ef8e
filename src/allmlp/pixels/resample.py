"""Pictures resized as Pillow does, in a quarter of its time: torch computes its filters with the processor's vector units."""

# axes: c channels, h w pixels, y x pixels when resized

from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from allmlp.pixels.tensor import pixels_of

MODES = ("bilinear", "bicubic")
"""What torch computes of Pillow's filters."""


def resized(picture: Image.Image, size: tuple[int, int], interpolation: str) -> Tensor:  # → c y x of uint8
    """A picture of mode L or RGB, its pixels side by side in memory whatever their axes' order says.

    size: (height, width). interpolation: one of MODES. Of photographs' values, 3 in 1,000 are one grey level from Pillow's and
    one in a million two: both work with weights of few bits, but not the same. Columns are resampled before rows. So did Pillow
    before version 13, which begins with rows where that costs less: then, for parts of photographs in another shape, 24 in
    1,000 differ, one in 10,000 by more than a level; of noise most do.
    """
    pixels = pixels_of(picture).permute(2, 0, 1)
    if pixels.shape[1:] == size:
        return pixels
    if size[1] == 1:  # without AVX2, torch 2.15 errs where channels are innermost
        pixels = pixels.contiguous()
    return F.interpolate(pixels[None], size, mode=interpolation, antialias=True)[0]
