"""Put a checkpoint's tensors into a model, whoever wrote it."""

import os
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from allmlp.errors import WeightsError
from allmlp.pages import own_pages
from allmlp.weights.files import read_tensors, unwrap
from allmlp.weights.finite import refuse_not_finite
from allmlp.weights.layouts import recognise

Source = Mapping[str, Tensor] | str | os.PathLike[str]
COUNTER = "num_batches_tracked"
"""End of the names of BatchNorm's counters, which releases leave out and inference ignores."""


def load_weights(model: nn.Module, source: Source) -> str:
    """Load weights in place, from our own layout, the official releases', or timm's.

    source: a state dict, or a file (safetensors, `.pth` without code, Google's `.npz`).
    Returns the name of the layout that was recognised. Raises WeightsError that lists every missing,
    unexpected and misshaped tensor, or names those with values that are not finite; the model is then left as it was. One on
    the meta device gets memory once all fits.
    """
    given = unwrap(source) if isinstance(source, Mapping) else read_tensors(source)
    wanted = model.state_dict()
    found, layout = fitted(given, wanted, to=getattr(model, "name", "") or type(model).__name__)
    found = {name: tensor.to(wanted[name].dtype) for name, tensor in found.items()}  # in which a number may be too large
    what = "the state dict" if isinstance(source, Mapping) else os.fspath(source)
    refuse_not_finite(found, what)
    if any(tensor.is_meta for tensor in wanted.values()):
        # to_empty does the same by empty_like, for which torch loads sympy; that takes as long as loading torch
        with own_pages():
            wanted = model._apply(lambda t: torch.empty(t.shape, dtype=t.dtype)).state_dict()
        for name in wanted.keys() - found.keys():
            wanted[name].zero_()  # counters
    with torch.no_grad():
        for ours, tensor in found.items():
            wanted[ours].copy_(tensor)
    return layout


def fitted(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, to: str) -> tuple[dict[str, Tensor], str]:
    """(a checkpoint's tensors in our names and axes, name of its layout), when it fits what a model wants.

    wanted: a state dict, of which only names and shapes count. to: the model's name, for the error.
    Raises WeightsError that lists every missing, unexpected and misshaped tensor.
    """
    layout = recognise(list(given))
    names = layout.names_of(wanted) if layout else {name: name for name in wanted}
    found: dict[str, Tensor] = {}
    missing, misshaped, used = [], [], set()
    for ours, target in wanted.items():
        theirs = names[ours]
        if theirs is None or theirs not in given:
            if not ours.endswith(COUNTER):
                missing.append(theirs or ours)
            continue
        used.add(theirs)
        tensor = layout.to_ours(theirs, given[theirs]) if layout else given[theirs]
        if tensor.shape != target.shape:
            misshaped.append(f"{theirs} is {_size(tensor)}, the model has {_size(target)}")
        found[ours] = tensor
    unexpected = [n for n in given if n not in used and not n.endswith(COUNTER)]
    if missing or misshaped or unexpected:
        raise WeightsError(
            _report(to, layout.source if layout else "own", missing, misshaped, unexpected), hint=_hint(misshaped)
        )
    return found, layout.source if layout else "allmlp"


def _size(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"


def _report(model: str, source: str, missing: list[str], misshaped: list[str], unexpected: list[str]) -> str:
    lines = [f"the checkpoint (layout: {source}) does not fit {model}"]
    for word, names in (("missing", missing), ("misshaped", misshaped), ("unexpected", unexpected)):
        if names:
            lines.append(f"  {word} ({len(names)}): {', '.join(names[:8])}" + (" …" if len(names) > 8 else ""))
    return "\n".join(lines)


def _hint(misshaped: list[str]) -> str:
    if misshaped and all("head" in m for m in misshaped):
        return "create the model with the checkpoint's num_classes, then reset_classifier for yours"
    return "create the model with the checkpoint's variant, img_size, in_chans and num_classes"
