"""Gradient checkpointing (Chen et al., 2016): a module's activations are computed twice instead of kept."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

AROUND: ContextVar[Callable[[], AbstractContextManager[object]]] = ContextVar("around", default=nullcontext)
"""Makes the context in which a model computes, for the second time too: torch goes backwards outside of its function modes."""


def recompute(module: nn.Module, enable: bool = True) -> None:
    """Change the module in place; parameters and their names stay. Random choices are made again as they were."""
    module.__dict__.pop("forward", None)
    if enable:
        module.forward = partial(_forward, module, module.forward)


def _forward(module: nn.Module, plain: Callable[..., Any], *inputs: Any) -> Any:
    if not torch.is_grad_enabled():
        return plain(*inputs)
    return checkpoint(plain, *inputs, use_reentrant=False, context_fn=partial(_contexts, module))


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _again(module, AROUND.get())


@contextmanager
def _again(module: nn.Module, around: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """As the first time, but batch norms have counted the batch already."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        with around():
            yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches
