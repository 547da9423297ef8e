"""torchvision's Resize of the shorter side and CenterCrop, without torchvision, which takes long to import."""

# axes: c channels, h w pixels, y x pixels of the crop

from PIL import Image
from torch import Tensor

from allmlp.pixels.resample import resized


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
        return resized(picture, whole, self.interpolation)[:, top : top + y, left : left + x]
