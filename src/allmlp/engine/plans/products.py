"""Matrix products by oneDNN through operators inside torch, with what follows them done on the way.

The weights are laid out once, in the order that oneDNN likes best. These operators are torch's private ones, made for
its compiler: `broken` finds out by a few small products whether they are there and right before anything uses them.
"""

# axes: r rows, i inputs, o outputs, y x rows and columns of the grid, c channels

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

ONE = [1, 1]


class Product:
    """x ↦ x wᵀ + b, and in the same pass a GELU or the sum with a residual after it."""

    def __init__(self, weight: Tensor, bias: Tensor | None, *, rows: int, dtype: torch.dtype) -> None:
        """weight: o × i. rows: how many of x there will usually be; any number is computed."""
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().to(dtype).contiguous(), rows)
        self.bias = None if bias is None else bias.detach().to(dtype)
        self.outputs = len(weight)

    def __call__(self, x: Tensor) -> Tensor:  # r i → r o
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: Tensor, approximate: str = "none") -> Tensor:  # r i → r o
        """approximate: as torch's GELU has it, "none" or "tanh"."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], approximate)

    def add(self, x: Tensor, other: Tensor) -> Tensor:  # r i, r o → r o
        """other + x wᵀ + b."""
        return torch.ops.mkldnn._linear_pointwise.binary(x, other, self.weight, self.bias, "add")


class Depthwise:
    """A convolution of every channel by itself on a grid whose images lie beside each other: y x b c, as y x (b·c).

    kernel: c × 1 × k × k, which keeps the grid's size.
    """

    def __init__(self, kernel: Tensor, bias: Tensor, *, dtype: torch.dtype) -> None:
        self.kernel, self.bias = kernel.detach().to(dtype), bias.detach().to(dtype)
        self.padding = [kernel.shape[2] // 2, kernel.shape[3] // 2]
        self.laid_out: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def gelu(self, grid: Tensor) -> Tensor:  # y x b c → y x b c
        """The convolution, then GELU."""
        image = grid.flatten(2).permute(2, 0, 1)[None]  # 1 (b·c) y x
        if grid.shape not in self.laid_out:  # one for each number of images, of which there are few
            images, groups = grid.shape[2], image.shape[1]
            repeated = self.kernel.repeat(images, 1, 1, 1).to_mkldnn()
            reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its stub lacks the shape of the images
            kernel = reorder(repeated, self.padding, ONE, ONE, groups, list(image.shape))
            self.laid_out[grid.shape] = kernel, self.bias.repeat(images)
        kernel, bias = self.laid_out[grid.shape]
        done = torch.ops.mkldnn._convolution_pointwise(
            image, kernel, bias, self.padding, ONE, ONE, image.shape[1], "gelu", [], "none"
        )
        return done[0].permute(1, 2, 0).reshape(grid.shape)


def mix_rows(matrix: Tensor, x: Tensor) -> Tensor:  # m r, r i → m i
    """Mix the first axis of x. oneDNN takes x as the weights of a linear map that is applied to the matrix."""
    return torch.ops.mkldnn._linear_pointwise(matrix, x.t(), None, "none", [], "")


def mix_rows_gelu(matrix: Tensor, x: Tensor, approximate: str) -> Tensor:  # m r, r i → m i
    return torch.ops.mkldnn._linear_pointwise(matrix, x.t(), None, "gelu", [], approximate)


def mix_rows_add(matrix: Tensor, x: Tensor, other: Tensor) -> Tensor:  # m r, r i, m i → m i
    return torch.ops.mkldnn._linear_pointwise.binary(matrix, other, x.t(), None, "add")


@lru_cache
def broken(dtype: torch.dtype) -> str:
    """Why these operators cannot be used in this precision here, or nothing: each is compared with plain torch."""
    if not torch.backends.mkldnn.is_available():
        return "this torch was built without oneDNN"
    try:
        with torch.inference_mode():
            worst = max(_worst_error(dtype, rows) for rows in (1, 19))
    except (AttributeError, RuntimeError, TypeError, NotImplementedError) as error:
        return f"this torch's oneDNN operators are other than expected ({str(error).splitlines()[0][:120]})"
    allowed = 1e-5 if dtype == torch.float32 else 3e-2
    return "" if worst <= allowed else f"oneDNN's products are off by {worst:.1e} on this processor"


def _worst_error(dtype: torch.dtype, rows: int) -> float:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(dtype)

    x, weight, bias, total, matrix = random(rows, 24), random(40, 24) / 5, random(40), random(rows, 40), random(7, rows)
    made: dict[str, Any] = dict(rows=rows, dtype=dtype)
    product, exact = Product(weight, bias, **made), x.float() @ weight.float().t() + bias.float()
    pairs = [
        (product(x), exact),
        (product.gelu(x), F.gelu(exact)),
        (product.gelu(x, "tanh"), F.gelu(exact, approximate="tanh")),
    ]
    mixed, other = matrix.float() @ x.float(), random(7, 24)
    grid, kernel, shift = random(5, 4, 2, 3), random(3, 1, 3, 3), random(3)
    as_images = F.conv2d(grid.float().permute(2, 3, 0, 1), kernel.float(), shift.float(), padding=1, groups=3)
    pairs += [
        (product.add(x, total), exact + total.float()),
        (mix_rows(matrix, x), mixed),
        (mix_rows_gelu(matrix, x, "none"), F.gelu(mixed)),
        (mix_rows_add(matrix, x, other), mixed + other.float()),
        (Depthwise(kernel, shift, dtype=dtype).gelu(grid), F.gelu(as_images.permute(2, 3, 0, 1))),
    ]
    return max(float((got.float() - due).abs().max() / due.abs().max()) for got, due in pairs)
