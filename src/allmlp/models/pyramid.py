"""Architectures whose grid shrinks from stage to stage."""

# axes: b batch, c channels, h w pixels, y x rows and columns of the grid, n = y · x tokens

from collections.abc import Sequence

from torch import Tensor, nn

from allmlp.models.base import ImageModel
from allmlp.nn.patches import check_image, to_tokens


class Pyramid(ImageModel):
    """`stages` on b × c × y × x, then `norm` on the same and the mean over the grid."""

    stages: nn.ModuleList
    """Each has `blocks`, and shrinks the grid before them."""
    norm: nn.Module

    def begin(self, image: Tensor) -> Tensor:  # b c h w → b c h w
        check_image(image, self.img_size, self.in_chans)
        return image

    def steps(self) -> Sequence[nn.Module]:
        return list(self.stages)

    def end(self, x: Tensor) -> Tensor:  # b c y x → b n c
        return to_tokens(self.normed(x))

    def normed(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return self.norm(x) if x.shape[1] == self.num_features else x

    def pool(self, tokens: Tensor) -> Tensor:  # b n c → b c
        return tokens.mean(1)

    def grid_view(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return x


class Stage(nn.Module):
    """An embedding that shrinks the grid, then blocks."""

    def __init__(self, *, embed: nn.Module, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.embed = embed
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c′ y′ x′
        return self.blocks(self.embed(x))


class ChannelsLastStage(Stage):
    """The same where the blocks work on b × y × x × c."""

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c′ y′ x′
        return self.blocks(self.embed(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def grids(img_size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """(rows, columns) of each stage; what a stride does not reach is lost."""
    found, (rows, columns) = [], img_size
    for stride in strides:
        rows, columns = rows // stride, columns // stride
        found.append((rows, columns))
    return found
