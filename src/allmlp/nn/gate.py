"""gMLP's spatial gate: tokens meet in a product instead of a sum."""

# axes: b batch, n tokens, c channels

from torch import Tensor, nn

from allmlp.nn.mixing import AlongTokens


class SpatialGate(nn.Module):
    """One half of the channels, mixed along the tokens, multiplies the other half (gMLP, section 2.1).

    It starts open: almost no mixing and a bias of one, so that a fresh block is a plain MLP.
    """

    def __init__(self, *, tokens: int, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim // 2)
        self.token_mix = AlongTokens(tokens, tokens)
        self.open()

    def open(self) -> None:
        """The paper's initial values."""
        nn.init.normal_(self.token_mix.weight, std=1e-6)
        nn.init.ones_(self.token_mix.bias)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c/2
        kept, gate = x.chunk(2, -1)
        return kept * self.token_mix(self.norm(gate))
