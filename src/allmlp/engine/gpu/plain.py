"""What a GPU plan is made of, in plain torch: the reference of the kernels, and what runs where they cannot.

On any device and in any floating-point type; activations lie as b × n × c, so that nothing is ever transposed.
"""

# axes: b images, n tokens in, m tokens out, c channels, i inputs, o outputs

import torch
from torch import Tensor
from torch.nn import functional as F


def wide(dtype: torch.dtype) -> torch.dtype:
    """In what sums, statistics and logits are kept: float32, or float64 where all is."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def mix(
    x: Tensor,  # b n c
    matrix: Tensor,  # m n
    *,
    scale: Tensor | None = None,  # c
    bias: Tensor | None = None,  # m c
    stats: tuple[Tensor, Tensor] | None = None,  # b n, b n
    approximate: str | None = None,
    residual: Tensor | None = None,  # b m c
) -> Tensor:  # → b m c
    """residual + GELU(scale · (A norm(x)) + bias), every part of it but the product A x only where it is given.

    stats: mean and 1 / standard deviation of each token, by which x is normalised. approximate: of the GELU, as torch has it.
    """
    if stats is not None:
        mean, rstd = (s[..., None] for s in stats)
        x = ((x.to(mean.dtype) - mean) * rstd).to(x.dtype)
    mixed = torch.matmul(matrix, x)
    mixed = mixed if scale is None else mixed * scale
    mixed = mixed if bias is None else mixed + bias
    mixed = mixed if approximate is None else F.gelu(mixed, approximate=approximate)
    return (mixed if residual is None else residual + mixed).to(x.dtype)


def stats(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:  # b n c → b n, b n
    """Mean and 1 / standard deviation of each token's channels, as LayerNorm takes them."""
    variance, mean = torch.var_mean(x.to(wide(x.dtype)), -1, correction=0)
    return mean, (variance + eps).rsqrt()


def norm(x: Tensor, shift: Tensor, eps: float) -> Tensor:  # b n c, c → b n c
    """LayerNorm of x - shift, without scale and shift of its own."""
    moved = x.to(wide(x.dtype)) - shift
    return F.layer_norm(moved, moved.shape[-1:], eps=eps).to(x.dtype)


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, approximate: str = "none") -> Tensor:  # ... i, o i, o → ... o
    return F.gelu(F.linear(x, weight, bias), approximate=approximate)


def add_linear(x: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:  # ... o, ... i, o i → ... o
    """x + hidden wᵀ; x may be written over."""
    x.view(-1, x.shape[-1]).addmm_(hidden.view(-1, hidden.shape[-1]), weight.t())
    return x
