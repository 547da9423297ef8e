"""From one image size to the next, in the middle of a run: everything that has learnt something is carried along."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from allmlp.models.base import ImageModel
from allmlp.surgery.resize import resize
from allmlp.training.plan import Plan
from allmlp.training.setup import plan_for
from allmlp.training.sizes import Size, resized
from allmlp.training.state import parameter_names


def plan_at(plan: Plan, epoch: int) -> Plan:
    """The plan for an epoch, from 0: the same where that has the model's size, else one of models resized to it.

    The schedule, the loss scale, the teacher and the precisions stay what they are. Called by every process.
    """
    size, old = plan.sizes.at(epoch), plan.model
    if len(plan.sizes.sizes) == 1 or size == old.img_size:
        return plan
    teacher = None if plan.distiller is None else plan.distiller.teacher
    recipe = replace(plan.recipe, train=replace(plan.recipe.train, precision=plan.precision, products=plan.products))  # type: ignore[arg-type]
    if teacher is not None:
        recipe = replace(recipe, distill=replace(recipe.distill, precision=teacher.precision))  # type: ignore[arg-type]
    opened = None if teacher is None else teacher.opened
    found = plan_for(resized(old, size), recipe, plan.source, opened, plan.team, plan.sizes)
    if plan.ema is not None and found.ema is not None:
        found.ema.set(resized(plan.ema.module, size))
    found.optimiser.load_state_dict(carried(plan.optimiser, old, size))
    return replace(found, recipe=plan.recipe, scaler=plan.scaler)


def carried(made: Optimizer, model: ImageModel, size: Size) -> dict[str, Any]:
    """The state of a model's optimiser for the model resized to `size`.

    Moments of weights that depend on the grid are resized as these are, the second ones by their roots, always by "copy",
    whose weights are not negative (docs/decisions/0009). All others stay bit for bit.
    """
    packed = made.state_dict()
    names = parameter_names(made, model)
    shapes = {name: parameter.shape for name, parameter in resized(model, size).named_parameters()}
    changed = {
        i: name for i, name in enumerate(names) if i in packed["state"] and shapes[name] != model.get_parameter(name).shape
    }
    state = {i: dict(values) for i, values in packed["state"].items()}
    fields = {field for i in changed for field, value in state[i].items() if isinstance(value, Tensor) and field != "step"}
    for field in fields:
        power = 0.5 if field.endswith("_sq") else 1.0
        held = {i: name for i, name in changed.items() if field in state[i]}  # Muon's fields are other ones for vectors
        moved = _resized_values({name: state[i][field] ** power for i, name in held.items()}, model, size)
        for i, name in held.items():
            state[i][field] = moved[name] ** (1 / power)
    return {"state": state, "param_groups": packed["param_groups"]}


def _resized_values(values: Mapping[str, Tensor], model: ImageModel, size: Size) -> dict[str, Tensor]:
    """What `resize` makes of other values in the place of a model's weights, by name."""
    stand_in = deepcopy(model)
    with torch.no_grad():
        for name, value in values.items():
            stand_in.get_parameter(name).copy_(value)
    return {name: p.detach() for name, p in resize(stand_in, size, kernel="copy", patches="same").named_parameters()}
