"""The networks that others train and run, for the peers' side of a benchmark: timm's own, and sMLPNet as its release is.

Where a peer is given our own module it has all that we did to it, and a comparison says less.
"""

# axes: b batch, c channels, y x rows and columns of the grid

from typing import Any

import torch
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock
from torch import Tensor, nn

from allmlp.models.base import ImageModel
from allmlp.models.mixer import Mixer
from allmlp.models.resmlp import ResMLP
from allmlp.models.smlpnet import SMLPNet


def original(ours: ImageModel) -> nn.Module:
    """The same architecture with the same sizes and weights of its own, not written here where somebody else has it."""
    values = ours.hyperparameters
    unusual = ("token_rank", "drop_path", "head", "token_mixing", "norm", "fusion")
    usual = ("linear", "mean", "affine", None, 0, 0.0)
    if len(set(ours.img_size)) > 1 or any(values.get(name) not in usual for name in unusual):
        raise ValueError("nobody else has this architecture; take ours")
    if isinstance(ours, SMLPNet):
        return ReleasedSMLPNet(ours)
    kind: dict[str, Any] = dict(mlp_ratio=values.get("expansion", 4.0), block_layer=ResBlock, norm_layer=Affine)
    if isinstance(ours, Mixer):
        kind = dict(mlp_ratio=(values["token_hidden"] / values["dim"], values["channel_hidden"] / values["dim"]))
    elif not isinstance(ours, ResMLP):
        raise ValueError(f"no original of {type(ours).__name__} is known here; take ours")
    sizes = dict(img_size=ours.img_size, in_chans=ours.in_chans, num_classes=ours.num_classes)
    return MlpMixer(**sizes, patch_size=values["patch_size"], embed_dim=values["dim"], num_blocks=values["depth"], **kind)


class ReleasedSMLPNet(nn.Module):
    """The operations of the release in their order, channels first, under the names of its checkpoints."""

    def __init__(self, ours: SMLPNet) -> None:
        super().__init__()
        self.img_size, self.num_classes = ours.img_size, ours.num_classes
        widths = [stage.embed.out_channels for stage in ours.stages]
        self.depths = [len(stage.blocks) for stage in ours.stages]
        self.to_patch_embedding = nn.ModuleList()
        self.token_mix, self.channel_mix = nn.ModuleList(), nn.ModuleList()
        side, before = ours.img_size[0], ours.in_chans
        for stage, width in zip(ours.stages, widths, strict=True):
            step = stage.embed.kernel_size[0]
            side //= step
            self.to_patch_embedding.append(nn.Sequential(nn.Conv2d(before, width, step, step, bias=False)))
            for block in stage.blocks:
                self.token_mix.append(nn.Sequential(Local(width), Sparse(width, side)))
                self.channel_mix.append(ChannelMix(width, block.channel_mlp.fc1.out_features))
            before = width
        self.batch_norm = nn.BatchNorm2d(before)
        self.mlp_head = nn.Sequential(nn.Linear(before, ours.num_classes))

    def forward(self, images: Tensor) -> Tensor:  # b c h w → b k
        x, number = images, 0
        for embed, depth in zip(self.to_patch_embedding, self.depths, strict=True):
            x = embed(x)
            for _ in range(depth):
                x = x + self.token_mix[number](x)
                x = x + self.channel_mix[number](x)
                number += 1
        return self.mlp_head(self.batch_norm(x).mean((2, 3)))


class Local(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_merge = nn.Sequential()
        self.conv_merge.add_module("BN", nn.BatchNorm2d(width))
        self.conv_merge.add_module("Activation", nn.GELU())
        self.conv_merge.add_module("Conv", nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False))

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return self.conv_merge(x)


class Sparse(nn.Module):
    """Rows and columns are mixed by 1 × 1 convolutions whose channels they are; the three branches lie beside each other."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        self.BN, self.activation = nn.BatchNorm2d(width), nn.GELU()
        self.proj_h, self.proh_w = nn.Conv2d(side, side, 1), nn.Conv2d(side, side, 1)
        self.fuse = nn.Conv2d(3 * width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        x = self.activation(self.BN(x))
        along_columns = self.proj_h(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        along_rows = self.proh_w(x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
        return self.fuse(torch.cat([x, along_columns, along_rows], 1))


class ChannelMix(nn.Sequential):
    """Channels last, LayerNorm, the MLP, channels first; at 0 and 3 the release has what turns the axes."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Identity(), nn.LayerNorm(width), FeedForward(width, hidden))

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.0), nn.Linear(hidden, width), nn.Dropout(0.0)
        )

    def forward(self, x: Tensor) -> Tensor:  # … c → … c
        return self.net(x)
