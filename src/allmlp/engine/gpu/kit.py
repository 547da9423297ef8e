"""The operations of a GPU plan, gathered: in plain torch, or each in its fastest form."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from allmlp.engine.decisions import decided
from allmlp.engine.gpu import plain
from allmlp.engine.gpu.graphs import recorded_seconds
from allmlp.engine.gpu.quickest import Ask, Operation, Quickest
from allmlp.engine.kept import machine


@dataclass(frozen=True, kw_only=True)
class Kit:
    """As the functions of the same names in `allmlp.engine.gpu.plain`."""

    mix: Operation = plain.mix
    stats: Operation = plain.stats
    norm: Operation = plain.norm
    linear_gelu: Operation = plain.linear_gelu
    add_linear: Operation = plain.add_linear


def kit_for(device: torch.device) -> Kit:
    """On a GPU with Triton each operation by its kernel where that is faster than torch's; elsewhere torch's."""
    if device.type != "cuda" or not has_triton():
        return Kit()
    forms = kernels()
    forms["linear_gelu"] = [*forms["linear_gelu"], cublas_gelu]
    here = machine(device)

    def ask(name: str) -> Ask:
        return lambda shapes, measure: decided({"operation": name, **shapes, **here}, measure)

    return Kit(**{name: Quickest(getattr(plain, name), others, recorded_seconds, ask(name)) for name, others in forms.items()})


def cublas_gelu(x: Tensor, weight: Tensor, bias: Tensor, *, approximate: str) -> Tensor:  # ... i, o i, o → ... o
    """`allmlp.engine.gpu.plain.linear_gelu` in one call of cuBLAS, which knows GELU by tanh alone. By a private operator of
    torch's. Raises ValueError for the other GELU."""
    if approximate != "tanh":
        raise ValueError(approximate)
    rows = torch._addmm_activation(bias, x.view(-1, x.shape[-1]), weight.t(), use_gelu=True)
    return rows.view(*x.shape[:-1], -1)


def has_triton() -> bool:
    """Whether it is installed, and finds the C compiler without which it starts no kernel."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    return compiler is not None and find_spec("triton") is not None


def kernels() -> dict[str, Sequence[Operation]]:
    """Operation → its kernels, one for each way of cutting the work into pieces."""
    from allmlp.engine.kernels import linear, rows, tokens

    return {
        "mix": [partial(tokens.mix, tile=tile) for tile in tokens.TILES],
        "stats": [partial(rows.stats, warps=warps) for warps in rows.WARPS],
        "norm": [partial(rows.norm, warps=warps) for warps in rows.WARPS],
        "linear_gelu": [partial(linear.linear_gelu, tile=tile) for tile in linear.TILES],
        "add_linear": [partial(linear.add_linear, tile=tile) for tile in linear.TILES],
    }
