"""Images to tokens and back."""

# axes: b batch, c channels, h w pixels, y x rows and columns of the patch grid, n = y · x tokens

from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ShapeError


class Patches(nn.Module):
    """Cut an image into square patches and map each linearly to `dim` channels.

    A convolution whose stride is its kernel, which is the linear map of each patch
    (MLP-Mixer, section 2; ResMLP, section 2). margin: pixels (vertically, horizontally) that a patch sees beyond each of
    its edges, as models resized for larger images do; the image's border is repeated for the outermost.
    Raises ShapeError when an image is not of `img_size`.
    """

    def __init__(
        self, *, img_size: tuple[int, int], patch_size: int, in_chans: int, dim: int, margin: tuple[int, int] = (0, 0)
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_size = patch_size
        self.margin = margin
        self.grid = (img_size[0] // patch_size, img_size[1] // patch_size)
        kernel = (patch_size + 2 * margin[0], patch_size + 2 * margin[1])
        self.proj = nn.Conv2d(in_chans, dim, kernel, stride=patch_size)

    def forward(self, image: Tensor) -> Tensor:  # b 3 h w → b n c
        check_image(image, self.img_size, self.proj.in_channels)
        vertical, horizontal = self.margin
        if vertical or horizontal:
            image = F.pad(image, (horizontal, horizontal, vertical, vertical), mode="replicate")
        return to_tokens(self.proj(image))


class OnGrid(nn.Sequential):
    """Layers for feature maps, such as convolutions, applied to tokens where they stand on the grid."""

    def __init__(self, grid: tuple[int, int], *layers: nn.Module) -> None:
        super().__init__(*layers)
        self.grid = grid

    def forward(self, tokens: Tensor) -> Tensor:  # b n c → b n c
        return to_tokens(super().forward(to_grid(tokens, self.grid)))


def check_image(image: Tensor, img_size: tuple[int, int], in_chans: int) -> None:
    """Raise ShapeError unless `image` is b × in_chans × height × width."""
    if image.ndim != 4 or tuple(image.shape[1:]) != (in_chans, *img_size):
        raise ShapeError(
            f"images of shape {tuple(image.shape)} do not fit a model for batch × {in_chans} × {img_size[0]} × {img_size[1]}",
            hint="resize the images, or create the model with the img_size and in_chans that you have",
        )


def to_tokens(grid: Tensor) -> Tensor:  # b c y x → b n c
    """Raster order: the token at row y and column x is number y · columns + x."""
    return grid.flatten(2).transpose(1, 2)


def to_grid(tokens: Tensor, grid: tuple[int, int]) -> Tensor:  # b n c → b c y x
    """The inverse of `to_tokens`."""
    return tokens.transpose(1, 2).unflatten(2, grid)
