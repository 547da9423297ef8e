"""RepMLPNet: fully connected over the whole grid, with convolutions beside it until it is deployed (Ding et al., 2022)."""

# axes: b batch, c channels, h w pixels, y x rows and columns of the grid, n = y · x positions, m positions out
#       s sets of channels that share one matrix, g channels of a set (c = g · s)

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.arguments import check_divides, choice, hidden_width, image_size, number, whole, wholes
from allmlp.models.pyramid import Pyramid, grids
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.registry import register

_T: dict[str, Any] = dict(dim=64, depths=(2, 2, 6, 2), sharesets=(1, 4, 16, 128))
_B: dict[str, Any] = dict(dim=96, depths=(2, 2, 12, 2), sharesets=(1, 4, 32, 128))
_D: dict[str, Any] = dict(dim=80, depths=(2, 2, 18, 2), sharesets=(1, 4, 16, 128))
_L: dict[str, Any] = dict(dim=96, depths=(2, 2, 18, 2), sharesets=(1, 4, 32, 256))
VARIANTS: dict[str, dict[str, Any]] = {
    "repmlpnet_t224": dict(**_T, img_size=224),  # 38.3 M
    "repmlpnet_b224": dict(**_B, img_size=224),  # 68.2 M
    "repmlpnet_t256": dict(**_T, img_size=256),  # 58.7 M
    "repmlpnet_b256": dict(**_B, img_size=256),  # 96.4 M
    "repmlpnet_d256": dict(**_D, img_size=256),  # 86.9 M
    "repmlpnet_l256": dict(**_L, img_size=256),  # 117.6 M
}
PUBLISHED = {
    "repmlpnet_t224": 76.62,
    "repmlpnet_b224": 80.32,
    "repmlpnet_t256": 77.44,
    "repmlpnet_b256": 81.03,
    "repmlpnet_d256": 80.83,
    "repmlpnet_l256": 81.68,
}
LICENCES = dict.fromkeys(["repmlpnet_b224", "repmlpnet_b256"], "MIT")
GLOBAL_REDUCTION = 4
FORMS = ("training", "deployed")


class ConvNorm(nn.Module):
    """A convolution without bias, then BatchNorm."""

    def __init__(self, chans: int, dim: int, kernel: int, *, stride: int = 1, padding: int = 0, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(chans, dim, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c′ y′ x′
        return self.norm(self.conv(x))


class GlobalPerceptron(nn.Module):
    """A factor for each channel, from the mean of all channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim // GLOBAL_REDUCTION)
        self.fc2 = nn.Linear(dim // GLOBAL_REDUCTION, dim)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c 1 1
        return self.fc2(F.relu(self.fc1(x.mean((2, 3))))).sigmoid()[..., None, None]


class ChannelPerceptron(nn.Module):
    """From every position to every position: one matrix for each set, shared by the set's channels.

    `weight[s, m, n]` is what position m takes of position n. This is the deployed form of token mixing.
    """

    def __init__(self, *, sets: int, grid: tuple[int, int], bias: bool = True) -> None:
        super().__init__()
        positions = grid[0] * grid[1]
        self.sets, self.grid = sets, grid
        self.weight = nn.Parameter(torch.empty(sets, positions, positions))
        self.bias = nn.Parameter(torch.empty(sets * positions)) if bias else None
        for parameter in self.parameters():  # torch's default for linear maps
            nn.init.uniform_(parameter, -(positions**-0.5), positions**-0.5)

    def forward(self, x: Tensor) -> Tensor:  # b·g s y x → b·g s y x
        mixed = torch.einsum("smn,bsn->bsm", self.weight, x.flatten(2))
        if self.bias is not None:
            mixed = mixed + self.bias.unflatten(0, (self.sets, -1))
        return mixed.unflatten(2, self.grid)


class LocalisedPerceptron(nn.Module):
    """A channel perceptron with BatchNorm, and beside it a local perceptron: a convolution with BatchNorm for each
    kernel size, which share weights in the same sets. This is the training form of token mixing."""

    def __init__(self, *, sets: int, grid: tuple[int, int], kernels: Sequence[int]) -> None:
        super().__init__()
        self.channel = ChannelPerceptron(sets=sets, grid=grid, bias=False)
        self.norm = nn.BatchNorm2d(sets)
        self.local = nn.ModuleDict({str(k): ConvNorm(sets, sets, k, padding=k // 2, groups=sets) for k in kernels})

    def forward(self, x: Tensor) -> Tensor:  # b·g s y x → b·g s y x
        mixed = self.norm(self.channel(x))
        for conv in self.local.values():
            mixed = mixed + conv(x)
        return mixed


class RepMLPBlock(nn.Module):
    """BatchNorm, then token mixing times the global perceptron's factors; BatchNorm, then a feed-forward of
    1 × 1 convolutions; each with a residual."""

    def __init__(self, *, dim: int, mix: nn.Module, sets: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.sets = sets
        self.token_norm = nn.BatchNorm2d(dim)
        self.gate = GlobalPerceptron(dim)
        self.mix = mix
        self.channel_norm = nn.BatchNorm2d(dim)
        self.enter = ConvNorm(dim, hidden, 1)
        self.leave = ConvNorm(hidden, dim, 1)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        normed = self.token_norm(x)
        in_sets = normed.unflatten(1, (-1, self.sets)).flatten(0, 1)  # b·g s y x
        x = x + self.drop_path(self.mix(in_sets).reshape(x.shape) * self.gate(normed))
        return x + self.drop_path(self.leave(F.gelu(self.enter(self.channel_norm(x)))))


class Stage(nn.Module):
    """A strided convolution with BatchNorm and ReLU that shrinks the grid, then blocks."""

    def __init__(self, *, chans: int, dim: int, stride: int, blocks: list[RepMLPBlock]) -> None:
        super().__init__()
        self.embed = ConvNorm(chans, dim, stride, stride=stride)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c′ y′ x′
        return self.blocks(F.relu(self.embed(x)))


@register("repmlpnet", variants=VARIANTS, published=PUBLISHED, licences=LICENCES, paper="arXiv:2112.11081")
class RepMLPNet(Pyramid):
    """dim: channels of the first stage, at least 4; each further stage doubles them and halves the grid.
    sharesets: sets of channels for each stage; each set has one matrix over all positions of the stage's grid.
    kernels: sides of the convolutions beside them, different and odd. form: "training", or "deployed" without
    convolutions beside; `surgery.locality.inject_locality` makes the second from the first.
    drop_path grows linearly over the blocks of all stages (the release has none)."""

    PREPROCESSING = {"crop_ratio": 1.0, "interpolation": "bilinear"}
    CHANNELS_LAST = True  # trains in seven tenths of the time

    def __init__(
        self,
        *,
        dim: int,
        depths: Sequence[int],
        sharesets: Sequence[int],
        patch_size: int = 4,
        kernels: Sequence[int] = (1, 3),
        expansion: float = 4,
        form: str = "training",
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        depths, dim = wholes("depths", depths), whole("dim", dim, least=GLOBAL_REDUCTION)
        sharesets = wholes("sharesets", sharesets, count=len(depths))
        kernels = _kernels(kernels)
        deployed = choice("form", form, FORMS) == "deployed"
        cell = whole("patch_size", patch_size) * 2 ** (len(depths) - 1)
        why = ", so the fully connected kernels of a stage would not fit its grid"
        size = image_size(img_size, cell, patch="the last stage's patch", why=why)
        width = dim * 2 ** (len(depths) - 1)
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=width)
        rates = iter(linear_rates(number("drop_path", drop_path, below=1), sum(depths)))
        self.stages = nn.ModuleList()
        chans, stride = in_chans, patch_size
        for s, grid in enumerate(grids(size, [patch_size] + [2] * (len(depths) - 1))):
            wide, sets = dim * 2**s, sharesets[s]
            check_divides(f"sharesets[{s}]", sets, wide, f"the {wide} channels of stage {s + 1}")
            blocks = []
            for _ in range(depths[s]):
                mix = (
                    ChannelPerceptron(sets=sets, grid=grid)
                    if deployed
                    else LocalisedPerceptron(sets=sets, grid=grid, kernels=kernels)
                )
                hidden = hidden_width(wide, expansion)
                blocks.append(RepMLPBlock(dim=wide, mix=mix, sets=sets, hidden=hidden, drop_path=next(rates)))
            self.stages.append(Stage(chans=chans, dim=wide, stride=stride, blocks=blocks))
            chans, stride = wide, 2
        self.norm = nn.BatchNorm2d(width)
        self.head = self.new_head(num_classes)


def _kernels(kernels: object) -> tuple[int, ...]:
    found = wholes("kernels", kernels)
    if len(set(found)) < len(found) or not all(k % 2 for k in found):
        raise ModelError(f"kernels={kernels!r} are not different odd numbers", hint="use kernels=(1, 3), say")
    return found
