"""The parts of a run ↔ named tensors and plain values, so that a checkpoint needs nothing that could execute code."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Parts = Mapping[str, Any]
"""By name: modules, at most one optimiser (of the module called "model"), and whatever else has a `state_dict` of plain
values, such as a loss scaler."""


def taken_apart(parts: Parts) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, everything else), both by dotted name; values are whatever JSON can hold."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, Any] = {}
    for name, part in parts.items():
        content = _by_name(part, parts["model"]) if isinstance(part, Optimizer) else part.state_dict()
        for key, value in _leaves(name, content):
            if isinstance(value, Tensor):
                tensors[key] = value.detach().contiguous()
            else:
                values[key] = value
    return tensors, values


def places(parts: Parts, sizes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Tensors to read a checkpoint into, sharded as the parts are: the modules' own, and fresh ones for the optimiser.

    sizes: what the checkpoint has, by name. Raises ValueError for state of parameters the model does not have.
    """
    found: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            found |= {f"{name}.{key}": value.detach() for key, value in part.state_dict().items()}
        elif isinstance(part, Optimizer):
            parameters = dict(parts["model"].named_parameters())
            for key, size in sizes.items():
                if key.startswith(f"{name}.state."):
                    owner = parameters.get(key.removeprefix(f"{name}.state.").rpartition(".")[0])
                    if owner is None:
                        raise ValueError(f"it has {key}, and the model no such parameter")
                    found[key] = torch.zeros_like(owner.detach()) if owner.shape == size else torch.zeros(size)
                elif key.startswith(f"{name}.groups."):
                    found[key] = torch.zeros(size)
    return found


def put_back(parts: Parts, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """The inverse of `taken_apart`, once `places` have been read into. Raises KeyError for what is missing."""
    content = {**values, **tensors}
    for name, part in parts.items():
        own = {key.removeprefix(f"{name}."): value for key, value in content.items() if key.startswith(f"{name}.")}
        if isinstance(part, Optimizer):
            _restore(part, own, parts["model"])
        elif not isinstance(part, nn.Module):  # a module's tensors were read in place
            part.load_state_dict(own)


def _by_name(made: Optimizer, model: nn.Module) -> dict[str, Any]:
    """The optimiser's state under the names of parameters, which do not depend on their order."""
    names = parameter_names(made, model)
    packed = made.state_dict()
    groups = [{key: value for key, value in group.items() if key != "params"} for group in packed["param_groups"]]
    return {"state": {names[index]: state for index, state in packed["state"].items()}, "groups": groups}


def _restore(made: Optimizer, content: Mapping[str, Any], model: nn.Module) -> None:
    packed = made.state_dict()
    numbers = {name: index for index, name in enumerate(parameter_names(made, model))}
    state: dict[int, dict[str, Any]] = {}
    device = next(model.parameters()).device
    for key, value in content.items():
        where, _, rest = key.partition(".")
        if where == "state":
            owner, _, field = rest.rpartition(".")
            state.setdefault(numbers[owner], {})[field] = value
        else:
            group, _, field = rest.partition(".")
            moved = value.to(device) if isinstance(value, Tensor) else value
            packed["param_groups"][int(group)][field] = tuple(moved) if isinstance(moved, list) else moved
    made.load_state_dict({"state": state, "param_groups": packed["param_groups"]})


def parameter_names(made: Optimizer, model: nn.Module) -> list[str]:
    """Names of the optimiser's parameters, in its own order."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [names[id(parameter)] for group in made.param_groups for parameter in group["params"]]


def _leaves(prefix: str, content: Any) -> Iterable[tuple[str, Any]]:
    """Dotted names of everything below; lists of plain values stay whole."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _leaves(f"{prefix}.{key}", value)
    elif isinstance(content, list) and content and isinstance(content[0], Mapping):
        for number, value in enumerate(content):
            yield from _leaves(f"{prefix}.{number}", value)
    else:
        yield prefix, content
