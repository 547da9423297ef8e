"""Architectures whose tokens keep one number and one width from the first block to the last."""

# axes: b batch, c channels, h w pixels, n tokens, y x rows and columns of the grid

from collections.abc import Sequence

from torch import Tensor, nn

from allmlp.models.arguments import image_size, whole
from allmlp.models.base import ImageModel
from allmlp.nn.patches import Patches, to_grid


class TokenModel(ImageModel):
    """Patches, then `blocks` on b × n × c, then `norm` and the mean over tokens."""

    blocks: nn.ModuleList
    norm: nn.Module

    def __init__(self, *, img_size: int | tuple[int, int], in_chans: int, num_classes: int, patch_size: int, dim: int) -> None:
        size = image_size(img_size, whole("patch_size", patch_size))
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=whole("dim", dim))
        self.patches = Patches(img_size=size, patch_size=patch_size, in_chans=in_chans, dim=dim)
        self.grid = self.patches.grid
        self.tokens = self.grid[0] * self.grid[1]

    def begin(self, image: Tensor) -> Tensor:  # b c h w → b n c
        return self.patches(image)

    def steps(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    def end(self, x: Tensor) -> Tensor:  # b n c → b n c
        return self.norm(x)

    def normed(self, x: Tensor) -> Tensor:  # b n c → b n c
        return self.norm(x)

    def pool(self, tokens: Tensor) -> Tensor:  # b n c → b c
        return tokens.mean(1)

    def grid_view(self, x: Tensor) -> Tensor:  # b n c → b c y x
        return to_grid(x, self.grid)
