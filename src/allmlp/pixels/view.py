"""Images prepared for one model, as another one expects them: tensors to tensors."""

# axes: b batch, c channels, h w pixels

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.pixels.preprocess import Preprocessing

LUMINANCE = (0.299, 0.587, 0.114)
"""Grey of red, green and blue (ITU-R BT.601), as Pillow converts."""


class View(nn.Module):
    """What `given` made of pictures → what `wanted` would have made of the same views.

    Normalisation is undone and done anew, colours and size are converted; nothing is cropped: a view of another shape
    is squashed. Values are not clipped. Where both agree the tensor is handed on as it is.
    """

    def __init__(self, given: Preprocessing, wanted: Preprocessing) -> None:
        super().__init__()
        self.size, self.mode = wanted.img_size, "bilinear" if wanted.interpolation == "bilinear" else "bicubic"
        self.normalised = (given.mean, given.std) == (wanted.mean, wanted.std) and given.in_chans == wanted.in_chans
        if given.in_chans != wanted.in_chans and {given.in_chans, wanted.in_chans} != {1, 3}:
            raise ModelError(f"{given.in_chans} channels cannot be shown as {wanted.in_chans}", hint="use grey (1) or RGB (3)")
        self.channels = wanted.in_chans
        for name, values in (("before", given), ("after", wanted)):
            self.register_buffer(f"mean_{name}", _by_channel(values.mean), persistent=False)
            self.register_buffer(f"std_{name}", _by_channel(values.std), persistent=False)
        self.register_buffer("luminance", _by_channel(LUMINANCE), persistent=False)

    mean_before: Tensor
    std_before: Tensor
    mean_after: Tensor
    std_after: Tensor
    luminance: Tensor

    def forward(self, images: Tensor) -> Tensor:  # b c h w → b c′ h′ w′
        if not self.normalised:
            pixels = images * self.std_before + self.mean_before
            if pixels.shape[1] > self.channels:
                pixels = (pixels * self.luminance).sum(1, keepdim=True)
            images = (pixels - self.mean_after) / self.std_after
        if images.shape[2:] != self.size:
            images = F.interpolate(images, self.size, mode=self.mode, antialias=True)
        return images


def _by_channel(values: Sequence[float]) -> Tensor:  # → 1 c 1 1
    return torch.tensor(values).reshape(1, -1, 1, 1)
