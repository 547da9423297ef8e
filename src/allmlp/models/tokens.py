"""Architectures whose tokens keep one number and one width from the first block to the last."""

# axes: b batch, c channels, h w pixels, n tokens, y x rows and columns of the grid

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from allmlp.models.arguments import both_axes, image_size, whole
from allmlp.models.base import ImageModel
from allmlp.models.initial import trunc_normal
from allmlp.nn.patches import Patches, to_grid


class TokenModel(ImageModel):
    """Patches, then `blocks` on b × n × c, then `norm` and the mean over tokens.

    patch_margin: pixels that a patch sees beyond each of its edges, vertically and horizontally; None where the family's
    `PATCHES` have none. `allmlp.resize` sets it.
    """

    PATCHES: ClassVar[type[nn.Module]] = Patches
    """Makes b × n × c of an image."""

    blocks: nn.ModuleList
    norm: nn.Module

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int],
        in_chans: int,
        num_classes: int,
        patch_size: int,
        dim: int,
        patch_margin: int | tuple[int, int] | None = None,
    ) -> None:
        size = image_size(img_size, whole("patch_size", patch_size))
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=whole("dim", dim))
        margin = {} if patch_margin is None else {"margin": both_axes("patch_margin", patch_margin)}
        self.patches = self.PATCHES(img_size=size, patch_size=patch_size, in_chans=in_chans, dim=dim, **margin)
        self.grid = (size[0] // patch_size, size[1] // patch_size)
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


class ClassTokenModel(TokenModel):
    """The same with a learnt token before the patches, which gathers what the head needs (ViT, section 3.1)."""

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int],
        in_chans: int,
        num_classes: int,
        patch_size: int,
        dim: int,
        patch_margin: int | tuple[int, int] | None = None,
    ) -> None:
        super().__init__(
            img_size=img_size,
            in_chans=in_chans,
            num_classes=num_classes,
            patch_size=patch_size,
            dim=dim,
            patch_margin=patch_margin,
        )
        self.class_token = nn.Parameter(torch.empty(1, 1, dim))
        trunc_normal(self.class_token, std=0.02)

    def begin(self, image: Tensor) -> Tensor:  # b c h w → b (1 + n) c
        patches = self.patches(image)
        return torch.cat([self.class_token.expand(patches.shape[0], -1, -1), patches], 1)

    def pool(self, tokens: Tensor) -> Tensor:  # b (1 + n) c → b c
        return tokens[:, 0]

    def grid_view(self, x: Tensor) -> Tensor:  # b (1 + n) c → b c y x
        return to_grid(x[:, 1:], self.grid)

    def no_weight_decay(self) -> set[str]:
        return {"class_token"}
