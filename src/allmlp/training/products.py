"""What multiplies in training: bf16 on processors that are fast in it, else float32 by torch or, twice as fast, by oneDNN.

torch reaches oneDNN's float32 products by private operators alone. So before they are used a few products and gradients are
compared with torch's. "auto" takes them on processors where they are clearly faster (docs/decisions/0010).
"""

# axes: r rows, i inputs, o outputs

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from allmlp.engine.abilities import abilities
from allmlp.engine.device import BF16_WIDTH_TRAINING, choose_precision
from allmlp.engine.plans.products import broken
from allmlp.errors import RecipeError
from allmlp.nn.recompute import AROUND
from allmlp.recipe import Train

CLOSE = 1e-5
"""The largest error that is still float32's rounding, of the largest number that is due."""


def chosen_precision(train: Train, device: torch.device, model: nn.Module) -> str:
    """As `choose_precision`; a training step gains from bf16 in narrower models, too, and oneDNN's float32 is float32."""
    named = "fp32" if train.precision == "auto" and train.products == "onednn" else train.precision
    return choose_precision(named, device, model, width=BF16_WIDTH_TRAINING)


def chosen_products(train: Train, device: torch.device, precision: str) -> str:
    """ "torch" or "onednn". Raises RecipeError where "onednn" is asked for and cannot be had."""
    wanted, why = train.products, impossible(train, device, precision)
    if wanted == "onednn" and why:
        other = 'train.precision "fp32", or ' if device.type == "cpu" and precision != "fp32" else ""
        raise RecipeError(f"train.products is onednn, but {why}", hint=f'use {other}train.products "auto" or "torch"')
    return "onednn" if not why and (wanted == "onednn" or (wanted == "auto" and abilities().fast_onednn)) else "torch"


def impossible(train: Train, device: torch.device, precision: str) -> str:
    """Why oneDNN's float32 products have no part in such steps here, or nothing."""
    if train.compile:
        return "the steps go through torch.compile"
    if device.type != "cpu" or precision != "fp32":
        return f"products are made in {precision} on {device.type}"
    return trouble()


@contextmanager
def multiplied(products: str) -> Iterator[None]:
    """The context in which a model answers and gradients are computed."""
    if products == "torch":
        yield
        return
    before = AROUND.set(OneDNN)
    try:
        with OneDNN():
            yield
    finally:
        AROUND.reset(before)


class OneDNN(TorchFunctionMode):
    """Inside, linear maps of float32 on the CPU, 1 × 1 convolutions among them, go through oneDNN; everything else, and what
    autocast makes, stays torch's."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _fits(-1, *args):
            return _Linear.apply(*args)
        if func is F.conv2d and not kwargs and _pointwise(*args) and _fits(1, *args[:3]):
            x, weight, *bias = args[:3]
            return _Linear.apply(x.permute(0, 2, 3, 1), weight.flatten(1), *bias).permute(0, 3, 1, 2)
        return func(*args, **(kwargs or {}))


def _fits(axis: int, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    """Of float32 on the CPU, outside autocast; what is empty or does not fit is left to torch. axis: of x's inputs."""
    plain = all(t.dtype == torch.float32 and t.device.type == "cpu" for t in (x, weight, bias) if t is not None)
    right = (
        weight.ndim == (2 if axis == -1 else 4)
        and x.shape[axis] == weight.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
    )
    return plain and right and x.numel() > 0 and not torch.is_autocast_enabled("cpu")


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None, *how: object) -> bool:
    """Whether a convolution, as nn.Conv2d calls for it, is a linear map of each position's channels."""
    return how == ((1, 1), (0, 0), (1, 1), 1) and weight.shape[2:] == (1, 1) and x.ndim == 4


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # r i, o i, o → r o
    made: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return made


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:  # … i, o i, o → … o
        rows = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(rows, weight)
        ctx.shape, ctx.biased = x.shape, bias is not None
        return _product(rows, weight, bias).view(*x.shape[:-1], len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # … o → … i, o i, o
        rows, weight = ctx.saved_tensors
        due = gradient.reshape(-1, gradient.shape[-1])
        of_x, of_weight, of_bias = ctx.needs_input_grad[0], ctx.needs_input_grad[1], ctx.biased and ctx.needs_input_grad[2]
        return (
            _product(due, weight.t()).view(ctx.shape) if of_x else None,
            _weights_gradient(rows, due) if of_weight else None,
            due.sum(0) if of_bias else None,
        )


def _weights_gradient(rows: Tensor, due: Tensor) -> Tensor:  # r i, r o → o i
    """Of the two ways to write this product, oneDNN is faster with the one that has fewer rows."""
    return _product(rows.t(), due.t()).t() if rows.shape[1] < due.shape[1] else _product(due.t(), rows.t())


@lru_cache
def trouble() -> str:
    """Why oneDNN's products cannot be used for training here, or nothing."""
    why = broken(torch.float32)
    if why:
        return why
    try:
        worst = max(_worst_error(*shape) for shape in ((1, 7, 5), (19, 24, 40), (33, 40, 24)))
    except (RuntimeError, TypeError, NotImplementedError) as error:
        return f"this torch's oneDNN operators are other than expected ({str(error).splitlines()[0][:120]})"
    return "" if worst <= CLOSE else f"oneDNN's gradients are off by {worst:.1e} on this processor"


def _worst_error(r: int, i: int, o: int) -> float:
    generator = torch.Generator().manual_seed(0)
    shapes = ((r, i), (o, i), (o,), (r, o))
    x, weight, bias, due = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    exact = [x @ weight.t() + bias, due @ weight, due.t() @ x, due.sum(0)]
    single = [tensor.float().requires_grad_() for tensor in (x, weight, bias)]
    with torch.enable_grad():
        made = _Linear.apply(*single)
        found = [made.detach(), *torch.autograd.grad(made, single, due.float())]
    return max(float((got.double() - right).abs().max() / right.abs().max()) for got, right in zip(found, exact, strict=True))
