"""A few rows of the token-mixing weights, kept as training goes on, to show how they grew."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.files import writing
from allmlp.models.base import ImageModel
from allmlp.operators import Mixing, token_mixing
from allmlp.run import Run
from allmlp.weights.files import write_tensors

LAYERS, MOMENTS = 6, 24
"""At most so many layers, and moments between the first epoch and the last."""
WIDEST = 64
"""The middle places at most of a matrix along one axis."""


def wanted(epoch: int, epochs: int) -> bool:
    """Whether the weights after so many whole epochs are kept: at even distances, before the first and after the last."""
    return epoch in np.linspace(0, epochs, min(epochs, MOMENTS) + 1).round().astype(int)


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """ "LAYER:AXIS" → float16: over the grid what its middle place takes of all (rows × columns), along one axis the
    matrix. Nothing for models without token-mixing matrices, and for those that see no images."""
    if not isinstance(model, ImageModel):
        return {}
    try:
        mixings = token_mixing(model)
    except ModelError:
        return {}
    names = list(dict.fromkeys(mixing.name for mixing in mixings))
    chosen = {names[i] for i in np.linspace(0, len(names) - 1, min(len(names), LAYERS)).round().astype(int)}
    return {f"{mixing.name}:{mixing.axis}": _shown(mixing) for mixing in mixings if mixing.name in chosen}


def _shown(mixing: Mixing) -> Tensor:
    rows, columns = mixing.grid
    if mixing.axis != "grid":
        side = mixing.matrix.shape[-1]
        low = max(side - WIDEST, 0) // 2
        values = mixing.matrix[low : low + WIDEST, low : low + WIDEST]
    else:
        middle = 0 if mixing.kind == "class" else rows // 2 * columns + columns // 2
        values = mixing.matrix[middle].reshape(rows, columns)
    return values.to(torch.float16).contiguous()


def keep_snapshot(run: Run, model: nn.Module, epoch: int) -> None:
    """Write run.mixing/EPOCH.safetensors, whole or not at all."""
    tensors = snapshot(model)
    path: Path = run.mixing / f"{epoch:05d}.safetensors"
    if tensors:
        with writing(path):
            run.mixing.mkdir(exist_ok=True)
            write_tensors(path, tensors, {"format": "pt"})
