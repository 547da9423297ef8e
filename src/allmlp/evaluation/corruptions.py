"""Common corruptions at five strengths, on images as a model sees them (Hendrycks & Dietterich, ICLR 2019).

Those of the benchmark's nineteen that need no picture or program from elsewhere. Their strengths are those of the authors'
code: CIFAR-10-C's for small images, ImageNet-C's for larger ones (https://github.com/hendrycks/robustness).
"""

# axes: b batch, c channels, h w pixels

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2.functional import gaussian_blur as blurred

Pixels = NDArray[np.float64]
ROUNDING = 1e-6
SMALL_SIDE = 64
"""Images whose longer side is at most so many pixels take CIFAR-10-C's strengths."""
BENCHMARKS = ("CIFAR-10-C", "ImageNet-C")
STRENGTHS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "gaussian_noise": ((0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": ((500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": ((0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "gaussian_blur": ((0.4, 0.6, 0.7, 0.8, 1.0), (1, 2, 3, 4, 6)),
    "brightness": ((0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": ((0.75, 0.5, 0.4, 0.3, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": ((0.95, 0.9, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": ((80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}
"""Name → its five values for each of `BENCHMARKS`, weakest first."""


def benchmark(img_size: tuple[int, int]) -> str:
    """Whose strengths images of (height, width) take."""
    return BENCHMARKS[max(img_size) > SMALL_SIDE]


def corrupted(image: Tensor, name: str, strength: int, draw: np.random.Generator) -> Tensor:  # c h w → c h w
    """An 8-bit image with one corruption, again in 8 bits.

    image: uint8, grey (c = 1) or RGB. name: of `STRENGTHS`. strength: 1 to 5. draw: where noise comes from.
    """
    value = STRENGTHS[name][BENCHMARKS.index(benchmark((image.shape[1], image.shape[2])))][strength - 1]
    changed = _CORRUPTIONS[name](image.double() / 255, value, draw)
    return (changed.clamp(0, 1) * 255 + ROUNDING).to(torch.uint8)  # cut off, as the benchmark's files are


def gaussian_noise(image: Tensor, deviation: float, draw: np.random.Generator) -> Tensor:
    """Electronic noise of the same size everywhere."""
    return image + deviation * torch.from_numpy(draw.standard_normal(tuple(image.shape)))


def shot_noise(image: Tensor, photons: float, draw: np.random.Generator) -> Tensor:
    """As if white were so many photons, which arrive by chance."""
    return torch.from_numpy(draw.poisson(image.numpy() * photons)) / photons


def impulse_noise(image: Tensor, share: float, draw: np.random.Generator) -> Tensor:
    """So many values become black or white."""
    hit = torch.from_numpy(draw.random(tuple(image.shape)) < share)
    return torch.where(hit, torch.from_numpy(draw.integers(0, 2, tuple(image.shape))).double(), image)


def gaussian_blur(image: Tensor, sigma: float, _draw: np.random.Generator) -> Tensor:
    """In pixels; cut off at four deviations, edges continued."""
    reach = int(4 * sigma + 0.5)
    wide = F.pad(image[None], (reach,) * 4, mode="replicate")
    return blurred(wide, [2 * reach + 1] * 2, [sigma] * 2)[0, :, reach:-reach, reach:-reach]


def brightness(image: Tensor, more: float, _draw: np.random.Generator) -> Tensor:
    """HSV's value, the largest of the channels, is raised; hue and saturation stay. Black becomes grey."""
    value = image.amax(0, keepdim=True)
    raised = (value + more).clamp(max=1)
    return torch.where(value > 0, image * raised / value.clamp(min=1e-12), raised)


def contrast(image: Tensor, share: float, _draw: np.random.Generator) -> Tensor:
    """What is left of each channel's distance from its mean."""
    mean = image.mean((1, 2), keepdim=True)
    return (image - mean) * share + mean


def pixelate(image: Tensor, share: float, _draw: np.random.Generator) -> Tensor:
    """Made smaller and large again, by means over boxes."""
    picture = to_picture(image)
    width, height = picture.size
    small = picture.resize((max(int(width * share), 1), max(int(height * share), 1)), Image.Resampling.BOX)
    return _values(small.resize((width, height), Image.Resampling.BOX))


def jpeg_compression(image: Tensor, quality: float, _draw: np.random.Generator) -> Tensor:
    """Written as JPEG of this quality, and read again."""
    file = BytesIO()
    to_picture(image).save(file, "JPEG", quality=int(quality))
    return _values(Image.open(file))


_CORRUPTIONS: dict[str, Callable[[Tensor, float, np.random.Generator], Tensor]] = {
    "gaussian_noise": gaussian_noise,
    "shot_noise": shot_noise,
    "impulse_noise": impulse_noise,
    "gaussian_blur": gaussian_blur,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
    "jpeg_compression": jpeg_compression,
}


def to_picture(image: Tensor) -> Image.Image:  # c h w in [0, 1]
    """Grey or RGB, in 8 bits."""
    pixels = image.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _values(picture: Image.Image) -> Tensor:  # → c h w in [0, 1]
    pixels = np.array(picture, dtype=np.float64) / 255
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1)
