"""Put a checkpoint's tensors into a model, whoever wrote it."""

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from allmlp.errors import WeightsError
from allmlp.weights.files import read_tensors, unwrap
from allmlp.weights.layouts import recognise

Source = Mapping[str, Tensor] | str | os.PathLike[str]


def load_weights(model: nn.Module, source: Source) -> str:
    """Load weights in place, from our own layout, the official releases', or timm's.

    source: a state dict, or a file (safetensors, `.pth` without code, Google's `.npz`).
    Returns the name of the layout that was recognised. Raises WeightsError that lists every missing,
    unexpected and misshaped tensor; the model is then left as it was.
    """
    given = unwrap(source) if isinstance(source, Mapping) else read_tensors(source)
    layout = recognise(list(given))
    wanted = model.state_dict()
    depths = tuple(len(stage.blocks) for stage in getattr(model, "stages", ()))
    found: dict[str, Tensor] = {}
    missing, misshaped, used = [], [], set()
    names = layout.names_of(wanted, depths) if layout else {name: name for name in wanted}
    for ours, target in wanted.items():
        theirs = names[ours]
        if theirs is None or theirs not in given:
            if not ours.endswith("num_batches_tracked"):  # a counter that releases leave out and inference ignores
                missing.append(theirs or ours)
            continue
        used.add(theirs)
        tensor = layout.to_ours(theirs, given[theirs]) if layout else given[theirs]
        if tensor.shape != target.shape:
            misshaped.append(f"{theirs} is {_size(tensor)}, the model has {_size(target)}")
        found[ours] = tensor
    unexpected = [n for n in given if n not in used and not n.endswith("num_batches_tracked")]
    if missing or misshaped or unexpected:
        raise WeightsError(
            _report(model, layout.source if layout else "own", missing, misshaped, unexpected), mend=_mend(misshaped)
        )
    with torch.no_grad():
        for ours, tensor in found.items():
            wanted[ours].copy_(tensor)
    return layout.source if layout else "allmlp"


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _report(model: nn.Module, source: str, missing: list[str], misshaped: list[str], unexpected: list[str]) -> str:
    lines = [f"the checkpoint (layout: {source}) does not fit {getattr(model, 'name', '') or type(model).__name__}"]
    for word, names in (("missing", missing), ("misshaped", misshaped), ("unexpected", unexpected)):
        if names:
            lines.append(f"  {word} ({len(names)}): {', '.join(names[:8])}" + (" …" if len(names) > 8 else ""))
    return "\n".join(lines)


def _mend(misshaped: list[str]) -> str:
    if misshaped and all("head" in m for m in misshaped):
        return "create the model with the checkpoint's num_classes, then reset_classifier for yours"
    return "create the model with the checkpoint's variant, img_size, in_chans and num_classes"
