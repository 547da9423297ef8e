"""Weights that stay zero while a sparse model is trained further."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from allmlp.errors import RecipeError, RunError
from allmlp.run import Run
from allmlp.training.plan import Plan
from allmlp.weights.files import read_tensors, write_tensors

SUFFIX = ".masks.safetensors"
"""Beside the weights that training begins with."""


def beside(weights: str | None) -> Path | None:
    """The masks that belong to a file of weights, if there are any."""
    path = Path(weights or "")
    masks = path.with_suffix(SUFFIX) if path.is_file() else path
    return masks if masks.is_file() else None


def write_masks(path: Path, masks: Mapping[str, Tensor]) -> None:
    """True where a weight stays, by the parameter's name."""
    write_tensors(path, masks, {"format": "pt"})


def hold(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set to zero what the masks say, in place."""
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)


def with_masks(plan: Plan, path: Path | None) -> Plan:
    """The plan whose steps keep these zeros.

    Raises RunError for masks of another model, RecipeError where they cannot be kept.
    """
    if path is None or not path.is_file():
        return plan
    if plan.recipe.train.sizes or plan.parallel == "fsdp":
        raise RecipeError("sparse models keep their image size and are not sharded", hint="leave train.sizes and fsdp away")
    masks = {name: mask.to(plan.device) for name, mask in read_tensors(path).items()}
    shapes = {name: parameter.shape for name, parameter in plan.model.named_parameters()}
    wrong = [name for name, mask in masks.items() if shapes.get(name) != mask.shape or mask.dtype != torch.bool]
    if wrong:
        raise RunError(f"{path} is of another model: {wrong[0]} does not fit", hint="restore the file, or shrink the run anew")
    return replace(plan, masks=masks)


def keep_with(run: Run, plan: Plan) -> None:
    """Put the masks into the run's folder, from which it is resumed."""
    if plan.masks:
        write_masks(run.masks, plan.masks)
