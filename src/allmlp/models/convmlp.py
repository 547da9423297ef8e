"""ConvMLP: a convolutional stem, then channel MLPs in pairs with a depthwise convolution between (Li et al., 2021)."""

# axes: b batch, c channels, h w pixels, y x rows and columns of the grid

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.arguments import hidden_width, image_size, number, numbers, whole, wholes
from allmlp.models.initial import truncated
from allmlp.models.pyramid import ChannelsLastStage, Pyramid
from allmlp.nn.mixing import linear_rates, stochastic_depth
from allmlp.nn.mlp import Mlp
from allmlp.nn.norm import GridLayerNorm
from allmlp.registry import register

VARIANTS: dict[str, dict[str, Any]] = {
    "convmlp_s": dict(channels=64, dims=(128, 256, 512), depths=(2, 4, 2), expansions=(2, 2, 2), conv_blocks=2),  # 9.0 M
    "convmlp_m": dict(channels=64, dims=(128, 256, 512), depths=(3, 6, 3), expansions=(3, 3, 3), conv_blocks=3),  # 17.4 M
    "convmlp_l": dict(channels=96, dims=(192, 384, 768), depths=(4, 8, 3), expansions=(3, 3, 3), conv_blocks=3),  # 42.7 M
}
PUBLISHED = {"convmlp_s": 76.8, "convmlp_m": 79.0, "convmlp_l": 80.2}


def conv_norm_relu(chans: int, dim: int, kernel: int, *, stride: int = 1) -> list[nn.Module]:
    """A convolution that keeps the grid (or halves it), BatchNorm, ReLU."""
    conv = nn.Conv2d(chans, dim, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(dim), nn.ReLU()]


class Tokenizer(nn.Sequential):
    """Three convolutions and a pooling: a quarter of the image's size."""

    def __init__(self, chans: int, dim: int) -> None:
        super().__init__(
            *conv_norm_relu(chans, dim // 2, 3, stride=2),
            *conv_norm_relu(dim // 2, dim // 2, 3),
            *conv_norm_relu(dim // 2, dim, 3),
            nn.MaxPool2d(3, stride=2, padding=1),
        )


class ConvBlock(nn.Sequential):
    """A residual bottleneck whose middle is wider than its ends."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__(*conv_norm_relu(dim, hidden, 1), *conv_norm_relu(hidden, hidden, 3), *conv_norm_relu(hidden, dim, 1))

    def forward(self, x: Tensor) -> Tensor:  # b c y x → b c y x
        return x + super().forward(x)


class Stem(nn.Module):
    """Tokenizer, then convolutional blocks."""

    def __init__(self, *, chans: int, dim: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.tokenizer = Tokenizer(chans, dim)
        self.blocks = nn.Sequential(*(ConvBlock(dim, hidden) for _ in range(blocks)))

    def forward(self, image: Tensor) -> Tensor:  # b 3 h w → b c h/4 w/4
        return self.blocks(self.tokenizer(image))


class ConvMLPBlock(nn.Module):
    """A channel MLP, a depthwise convolution without a residual, a second channel MLP."""

    def __init__(self, *, dim: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.mlp1 = Mlp(dim, hidden)
        self.depthwise_norm = nn.LayerNorm(dim)
        self.depthwise = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp2 = Mlp(dim, hidden)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b y x c → b y x c
        x = x + self.drop_path(self.mlp1(self.norm1(x)))
        x = self.depthwise(self.depthwise_norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.drop_path(self.mlp2(self.norm2(x)))


@register("convmlp", variants=VARIANTS, published=PUBLISHED, paper="arXiv:2109.04454")
class ConvMLP(Pyramid):
    """channels: of the stem, an even number. dims, depths, expansions: one for each stage after it.
    Any image size will do: a grid with an odd side is halved upwards.
    drop_path grows linearly over the blocks of each stage by itself (0.1 in the release)."""

    CHANNELS_LAST = True  # trains in less than half the time: the channel MLPs need no copy

    def __init__(
        self,
        *,
        channels: int,
        dims: Sequence[int],
        depths: Sequence[int],
        expansions: Sequence[float],
        conv_blocks: int,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        depths = wholes("depths", depths)
        dims = wholes("dims", dims, count=len(depths))
        expansions = numbers("expansions", expansions, count=len(depths))
        if whole("channels", channels) % 2:
            raise ModelError(f"channels={channels} is odd", hint=f"use channels={channels + 1}")
        size = image_size(img_size, 1)
        super().__init__(img_size=size, in_chans=in_chans, num_classes=num_classes, num_features=dims[-1])
        blocks = whole("conv_blocks", conv_blocks, least=0)
        self.stem = Stem(chans=in_chans, dim=channels, hidden=dims[0], blocks=blocks)
        self.stages = nn.ModuleList()
        chans, rate = channels, number("drop_path", drop_path, below=1)
        for s, (dim, depth, expansion) in enumerate(zip(dims, depths, expansions, strict=True)):
            hidden = hidden_width(dim, expansion, name=f"expansions[{s}]")
            mixing = [ConvMLPBlock(dim=dim, hidden=hidden, drop_path=r) for r in linear_rates(rate, depth)]
            embed = nn.Conv2d(chans, dim, 3, stride=2, padding=1)
            self.stages.append(ChannelsLastStage(embed=embed, blocks=mixing))
            chans = dim
        self.norm = GridLayerNorm(dims[-1])
        self.apply(_initial)
        self.head = self.new_head(num_classes)

    def steps(self) -> Sequence[nn.Module]:
        return [self.stem, *self.stages]

    def start_head(self, head: nn.Linear) -> None:
        truncated(head)


def _initial(module: nn.Module) -> None:
    """The release's rule."""
    truncated(module)
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
