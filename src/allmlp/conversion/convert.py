"""A checkpoint from one layout to another, bit for bit, with a card where the layout is ours."""

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from allmlp.conversion.recognise import Recognised, recognise
from allmlp.engine.load import build, located
from allmlp.errors import WeightsError, one_of
from allmlp.files import writing
from allmlp.models.base import ImageModel
from allmlp.released.classes import class_names
from allmlp.released.table import Released, named_like, released
from allmlp.run import write_model
from allmlp.weights import layouts
from allmlp.weights.files import KINDS, read_tensors, write_tensors
from allmlp.weights.finite import not_finite
from allmlp.weights.layouts.table import SAME, Layout
from allmlp.weights.load import fitted

LAYOUTS = ("allmlp", *layouts.KINDS)


@dataclass(frozen=True)
class Given:
    """What a person says of a checkpoint."""

    model: str | None = None
    """A variant, a family, or a released checkpoint's name, whose classes and preprocessing are then taken, too."""
    hyper: Mapping[str, Any] | None = None
    classes: Sequence[str] | None = None
    """One name for each output, in their order."""


def convert(
    source: str | os.PathLike[str],
    *,
    to: str,
    out: str | os.PathLike[str],
    given: Given | None = None,
    which: str = "best",
) -> dict[str, Any]:
    """Write a checkpoint in another layout. Every number stays as it is, and so does its type.

    source: a file in any layout, a run folder (`which` weights), or a released checkpoint's name.
    to: "allmlp", "timm" or "official"; out: the file, whose suffix says of which kind it is. Ours is a safetensors
    file with its JSON, which `allmlp.load` takes. Returns what was done, in plain values; "not_finite" names the tensors
    with values that are NaN or infinite, which stay so and which no other command takes.
    Raises AllmlpError for tensors that are not understood and what a layout cannot keep; nothing is written then.
    """
    given, out = given or Given(), Path(out)
    _check_out(out, to)
    path, card, entry = _opened(source, which, given)
    tensors = read_tensors(path)
    if card is not None:
        known = _described(tensors, card, path)
    else:
        known, entry = _recognised(tensors, entry, path.name, given)
    _name_classes(known.model, given.classes)
    with writing(out):
        done = _write(known, to, out, tensors)
    model = known.model
    return {
        "file": str(path),
        "layout": known.layout,
        "model": model.name,
        "family": model.family,
        "hyperparameters": model.hyperparameters,
        "img_size": list(model.img_size),
        "in_chans": model.in_chans,
        "num_classes": model.num_classes,
        "assumed": known.assumed,
        "released": entry.name if entry else None,
        "classes_known": model.classes is not None,
        "preprocessing": model.preprocessing.to_dict(),
        "to": to,
        "out": str(out),
        "tensors": len(known.tensors),
        "not_finite": not_finite(known.tensors),
        **done,
    }


def _check_out(out: Path, to: str) -> None:
    """Before anything is read: nothing is there yet, and the folder is."""
    if to not in LAYOUTS:
        raise WeightsError(f"there is no layout {to!r}", hint=one_of(LAYOUTS, to))
    if to == "allmlp" and out.suffix != ".safetensors":
        raise WeightsError(f"{out.name} is no .safetensors file, which allmlp's own weights are", hint="name it .safetensors")
    if not out.parent.is_dir():
        raise WeightsError(f"the folder {out.parent} is not there", hint="make it, or choose another --out")
    for path in (out, out.with_suffix(".json")) if to == "allmlp" else (out,):
        if path.exists():
            raise WeightsError(f"{path} is there already", hint="choose another --out, or remove it")


def _opened(source: str | os.PathLike[str], which: str, given: Given) -> tuple[Path, dict[str, Any] | None, Released | None]:
    """(file, its card where it has one, the released checkpoint it is said to be)."""
    path = Path(source)
    described = path.suffix == ".safetensors" and path.with_suffix(".json").is_file()
    if path.is_file() and path.suffix in KINDS and not described:
        return path, None, released().get(given.model or "")
    if given.model or given.hyper:
        raise WeightsError(
            f"{source} says itself what model it is", hint="leave --model and --hyper out, which are for files that do not"
        )
    path, card = located(source, which)
    return path, card, released().get(card.get("released", ""))


def _described(tensors: Mapping[str, Tensor], card: dict[str, Any], path: Path) -> Recognised:
    """A checkpoint whose card says all."""
    model = build(card, path, tensors)
    found, layout = fitted(tensors, model.state_dict(), to=model.name)
    return Recognised(layout, model, found, {})


def _recognised(
    tensors: Mapping[str, Tensor], entry: Released | None, file: str, given: Given
) -> tuple[Recognised, Released | None]:
    """A checkpoint that says nothing but names and shapes, and perhaps by its file's name which released one it is."""
    name, hyper = (entry.model if entry else given.model), dict(given.hyper or {})
    known = recognise(tensors, name=name, given={**(entry.hyper if entry else {}), **hyper})
    if entry is None and (entry := _released_file(file, known.model)) is not None:
        known = recognise(tensors, name=entry.model, given={**entry.hyper, **hyper})
    if entry is not None:
        model = known.model
        model.preprocessing = entry.preprocessing.fit(img_size=model.img_size, in_chans=model.in_chans)
        _name_classes(model, class_names(entry.classes) if entry.classes else None, strict=False)
    return known, entry


def _released_file(file: str, model: ImageModel) -> Released | None:
    """The released checkpoint that a file's name says it is, where its model and outputs agree.

    Two of Google's have one name and one size; they have the same preprocessing and classes, so either will do.
    """
    fitting = [r for r in named_like(file) if r.model == model.name and len(r.card()["classes"]) == model.num_classes]
    return fitting[0] if fitting else None


def _name_classes(model: ImageModel, names: Sequence[str] | None, *, strict: bool = True) -> None:
    """Give the outputs names; others than there are outputs is an error where a person gave them."""
    if names is None or (len(names) != model.num_classes and not strict):
        return
    if len(names) != model.num_classes or len(set(names)) != len(names):
        raise WeightsError(
            f"{len(set(names))} different names of classes do not fit {model.num_classes} outputs", hint="give one for each"
        )
    model.classes = tuple(names)


def _write(known: Recognised, to: str, out: Path, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Write the file, and say what changed from the tensors as they were read."""
    before = layouts.recognise(list(tensors))
    ours = list(known.tensors)
    names_before = before.names_of(ours) if before else {name: name for name in ours}
    after, names = (None, {name: name for name in ours}) if to == "allmlp" else layouts.layout_for(to, known.model.family, ours)
    if after is not None and any(getattr(getattr(known.model, "patches", None), "margin", ())):
        raise WeightsError(
            f"{after.source}'s code has no patches that overlap, as this resized model has",
            hint='resize the original with patches="same", or fine-tune from that, and convert the result',
        )
    axes_before = {name: before.axes_of(names_before[name] or "") if before else SAME for name in ours}
    axes = {name: after.axes_of(names[name]) if after else SAME for name in ours}
    if after is None:
        write_model(out, known.tensors, {**known.model.card(), "converted": {"layout": known.layout, "assumed": known.assumed}})
    elif out.suffix not in after.suffixes:
        raise WeightsError(f"the layout {after.source} is not written as {out.name}", hint=f"use {' or '.join(after.suffixes)}")
    else:
        write_tensors(out, {names[name]: axes[name].to_theirs(tensor) for name, tensor in known.tensors.items()})
    return {
        "out_layout": after.source if after else "allmlp",
        "renamed": sum(names_before[name] != names[name] for name in ours),
        "rearranged": sum(axes_before[name] is not axes[name] for name in ours),
        "left_out": sorted(set(tensors) - set(names_before.values())),
        "lost": _lost(known.model, after),
    }


def _lost(model: ImageModel, layout: Layout | None) -> dict[str, Any]:
    """Hyper-parameters of the model that the layout's own code computes with other values of: name → its value."""
    if layout is None:
        return {}
    parameters = inspect.signature(type(model)).parameters
    values = {**{k: p.default for k, p in parameters.items()}, **model.hyperparameters}
    return {name: value for name, value in layout.implies.items() if values[name] != value}
