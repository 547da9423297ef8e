"""timm's random part of a picture, resized by `allmlp.pixels.resample`."""

# axes: c channels, y x pixels

from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation
from torch import Tensor

from allmlp.pixels.resample import resized


class RandomPart(RandomResizedCropAndInterpolation):
    """The parts that timm's draws, of pictures of mode L or RGB, as pixels.

    size: (height, width) that they are brought to. min_area: the least share of the picture, in (0, 1]. interpolation: one of
    `resample.MODES`.
    """

    def __init__(self, size: tuple[int, int], min_area: float, interpolation: str) -> None:
        super().__init__(size, scale=(min_area, 1.0), interpolation=interpolation)
        self.wanted, self.mode = size, interpolation

    def __call__(self, picture: Image.Image) -> Tensor:  # → c y x of uint8
        top, left, height, width = self.get_params(picture, self.scale, self.ratio)
        height, width = max(height, 1), max(width, 1)  # of a picture of few pixels timm draws none
        top, left = min(top, picture.height - height), min(left, picture.width - width)
        return resized(picture.crop((left, top, left + width, top + height)), self.wanted, self.mode)
