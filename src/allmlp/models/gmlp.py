"""gMLP: one MLP a block, whose hidden channels gate each other along the tokens (Liu et al., 2021)."""

# axes: b batch, n tokens, c channels

from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.arguments import hidden_width, number, whole
from allmlp.models.initial import lecun_normal, zero
from allmlp.models.tokens import TokenModel
from allmlp.nn.gate import SpatialGate
from allmlp.nn.mixing import stochastic_depth
from allmlp.pixels.preprocess import HALF
from allmlp.registry import register

VARIANTS = {
    "gmlp_ti": dict(patch_size=16, dim=128, depth=30),  # 5.9 M
    "gmlp_s": dict(patch_size=16, dim=256, depth=30),  # 19.4 M
    "gmlp_b": dict(patch_size=16, dim=512, depth=30),  # 73.1 M
}
PUBLISHED = {"gmlp_ti": 72.3, "gmlp_s": 79.6, "gmlp_b": 81.6}


class GMLPBlock(nn.Module):
    """x + V · gate(GELU(U · LayerNorm(x))), U and V along the channels (equation 1)."""

    def __init__(self, *, tokens: int, dim: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc1 = nn.Linear(dim, hidden)
        self.gate = SpatialGate(tokens=tokens, dim=hidden)
        self.fc2 = nn.Linear(hidden // 2, dim)
        self.drop_path = stochastic_depth(drop_path)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c
        return x + self.drop_path(self.fc2(self.gate(F.gelu(self.fc1(self.norm(x))))))


@register("gmlp", variants=VARIANTS, published=PUBLISHED, paper="arXiv:2105.08050")
class GMLP(TokenModel):
    """expansion: channels of the hidden layer for each of `dim`; the gate leaves half of them.
    drop_path is the same in every block: the paper states one survival probability a model, and no rule."""

    PREPROCESSING = {"mean": HALF, "std": HALF, "crop_ratio": 0.875}

    def __init__(
        self,
        *,
        dim: int,
        depth: int,
        patch_size: int = 16,
        patch_margin: int | tuple[int, int] = 0,
        expansion: float = 6,
        img_size: int | tuple[int, int] = 224,
        in_chans: int = 3,
        num_classes: int = 1000,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(
            img_size=img_size,
            in_chans=in_chans,
            num_classes=num_classes,
            patch_size=patch_size,
            dim=dim,
            patch_margin=patch_margin,
        )
        hidden = hidden_width(dim, expansion)
        if hidden % 2:
            raise ModelError(
                f"expansion={expansion!r} makes {hidden} hidden channels of {dim}, which have no halves",
                hint=f"give expansion={(hidden + 1) / dim:.6g}, or another that makes an even number",
            )
        rate = number("drop_path", drop_path, below=1)
        self.blocks = nn.ModuleList(
            GMLPBlock(tokens=self.tokens, dim=dim, hidden=hidden, drop_path=rate) for _ in range(whole("depth", depth))
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.apply(_initialise)
        self.head = self.new_head(num_classes)

    def start_head(self, head: nn.Linear) -> None:
        zero(head)


def _initialise(module: nn.Module) -> None:
    """The gates as the paper starts them; for the rest, on which it is silent, timm's rule."""
    if isinstance(module, SpatialGate):
        module.open()
    elif isinstance(module, nn.Linear | nn.Conv2d):
        (nn.init.xavier_uniform_ if isinstance(module, nn.Linear) else lecun_normal)(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
