"""From a PIL image to the tensor a checkpoint expects. Accuracy depends on each of these values."""

# axes: c channels, h w pixels

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from PIL import Image
from torch import Tensor

from allmlp.errors import ModelError
from allmlp.pixels.centre import ResizedCentre
from allmlp.pixels.given import Given, in_channels
from allmlp.pixels.reading import Reading
from allmlp.pixels.resample import MODES
from allmlp.pixels.tensor import ToNormalised, in_one_buffer

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
"""Mixer's mean and std: pixels in [-1, 1]."""

LEAST_CROP = 0.01
"""Of an image's side: less would first enlarge pictures more than a hundred times."""

Transform = Callable[[Image.Image], Tensor]  # → c h w


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop and normalise as a checkpoint was trained for."""

    img_size: tuple[int, int]
    """(height, width) of the model's input in pixels."""
    in_chans: int = 3
    """1 (grey) or 3 (RGB)."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Per channel, of pixels in [0, 1]; subtracted."""
    std: tuple[float, ...] = IMAGENET_STD
    """Per channel, of pixels in [0, 1]; divided by."""
    crop_ratio: float = 0.9
    """Share of the resized image's shorter side that the centre crop keeps, in (0, 1]."""
    crop_mode: str = "center"
    """"center" keeps the aspect ratio and crops; "squash" resizes to the input's shape; "border" pads."""
    interpolation: str = "bicubic"
    """"bicubic", "bilinear" or "lanczos"."""
    value_range: tuple[float, float] | None = None
    """The values of deep images (16 and 32 bits, floats) that become 0 and 255. None: by an image's type, or its own values."""
    page: int | None = None
    """Which page of TIFF files is read, from 1. None: the only one."""

    def __post_init__(self) -> None:
        """Raises ModelError: a card beside weights may be anybody's."""
        fine = {
            "img_size": _numbers(self.img_size, 2, int) and min(self.img_size) > 0,
            "in_chans": type(self.in_chans) is int and self.in_chans > 0,
            "mean": _numbers(self.mean, self.in_chans, int, float),
            "std": _numbers(self.std, self.in_chans, int, float) and min(self.std) > 0,
            "crop_ratio": _numbers((self.crop_ratio,), 1, int, float) and LEAST_CROP <= self.crop_ratio <= 1,
            "crop_mode": self.crop_mode in ("center", "squash", "border"),
            "interpolation": self.interpolation in ("bicubic", "bilinear", "lanczos"),
            "value_range": self.value_range is None
            or (_numbers(self.value_range, 2, int, float) and self.value_range[0] < self.value_range[1]),
            "page": self.page is None or (type(self.page) is int and self.page > 0),
        }
        wrong = [f"{name}={str(getattr(self, name))[:100]}" for name, holds in fine.items() if not holds]
        if wrong:
            raise ModelError(
                f"preprocessing is not understood: {', '.join(wrong)}",
                hint="use the values that allmlp wrote beside the weights",
            )

    def __call__(self, image: Given, name: str = "the image") -> Tensor:  # → c h w, float32, normalised
        """The tensor that a model takes.

        Args:
            image: a file's path, a PIL image of any size and mode, or pixels of uint8, h w or h w c.
            name: what to call an image without a file in messages.

        Raises:
            DataError: for what is no image; UnreadableImage, one of its kind, for one that cannot be decoded.
        """
        return _pipeline(self)(in_channels(image, self.reading, name))

    @property
    def reading(self) -> Reading:
        """How image files are decoded for this."""
        return Reading(self.in_chans, self.value_range, self.page)

    def fit(self, *, img_size: tuple[int, int], in_chans: int) -> "Preprocessing":
        """The same for another size and number of channels; mean and std are averaged when that changes."""
        if in_chans == self.in_chans:
            return replace(self, img_size=img_size)
        mean, std = (round(sum(v) / len(v), 4) for v in (self.mean, self.std))
        return replace(self, img_size=img_size, in_chans=in_chans, mean=(mean,) * in_chans, std=(std,) * in_chans)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is None is left out."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items() if v is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Preprocessing":
        """The inverse of `to_dict`. Raises ModelError for fields that are unknown or missing."""
        try:
            plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
            return cls(**plain)
        except TypeError as error:
            raise ModelError(f"preprocessing is not understood: {error}", hint="use the file as allmlp wrote it") from None


def _numbers(values: object, count: object, *kinds: type) -> bool:
    """Whether these are so many finite numbers of these types."""
    return isinstance(values, tuple) and len(values) == count and all(type(v) in kinds and math.isfinite(v) for v in values)


def resized_here(spec: Preprocessing) -> bool:
    """Whether pictures are resized by `resample`; else by timm's transforms, and with them by Pillow."""
    return spec.crop_mode == "center" and spec.img_size[0] == spec.img_size[1] and spec.interpolation in MODES


@lru_cache(maxsize=16)
def _pipeline(spec: Preprocessing) -> Transform:
    """The usual crop without timm and torchvision, which take three times as long to import as torch."""
    if not resized_here(spec):
        return _by_timm(spec)
    centre = ResizedCentre(math.floor(spec.img_size[0] / spec.crop_ratio), spec.img_size, spec.interpolation)
    normalised = ToNormalised(spec.mean, spec.std)
    return lambda picture: normalised(centre(picture))


def _by_timm(spec: Preprocessing) -> Transform:
    from timm.data import create_transform
    from torchvision import transforms

    pipeline = create_transform(
        input_size=(spec.in_chans, *spec.img_size),
        is_training=False,
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        crop_pct=spec.crop_ratio,
        crop_mode=spec.crop_mode,
    )
    fitting = [_never_thinner(spec)] if spec.crop_mode == "border" else []
    return transforms.Compose([*fitting, *in_one_buffer(pipeline.transforms)])


def _never_thinner(spec: Preprocessing) -> Callable[[Image.Image], Image.Image]:
    """Widens what would come out less than a pixel thick when its long side fits, which timm's resize takes for an error."""
    target = [math.floor(side / spec.crop_ratio) for side in spec.img_size]

    def widened(picture: Image.Image) -> Image.Image:
        w, h = picture.size
        ratio = max(h / target[0], w / target[1])
        if round(min(w, h) / ratio) > 0:
            return picture
        return picture.resize((max(w, math.ceil(ratio)), max(h, math.ceil(ratio))), Image.Resampling.NEAREST)

    return widened
