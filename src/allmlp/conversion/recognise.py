"""Whose model a checkpoint's tensors are: layout, variant and hyper-parameters, from names and shapes alone."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from allmlp.errors import AllmlpError, WeightsError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.registry import Family, family_of
from allmlp.weights import layouts, shapes
from allmlp.weights.load import fitted

SIZES = ("img_size", "in_chans", "num_classes")
"""Hyper-parameters that do not make another variant of a model."""
Found = tuple[dict[str, Any], dict[str, Any]]
"""(hyper-parameters that the shapes show, what was assumed for the rest)."""


@dataclass(frozen=True)
class Recognised:
    """A checkpoint that is understood."""

    layout: str
    """Whose: "allmlp", "timm", or the release's name."""
    model: ImageModel
    """Without numbers, on the meta device."""
    tensors: dict[str, Tensor]
    """In our names and axes, of the checkpoint's own type."""
    assumed: dict[str, Any]
    """Hyper-parameters that are neither in names and shapes nor were given."""


def recognise(tensors: Mapping[str, Tensor], *, name: str | None = None, given: Mapping[str, Any] | None = None) -> Recognised:
    """The model of a checkpoint.

    name: its variant or family, where it is known. given: hyper-parameters that are known, which win.
    What shapes do not show is the variant's, or where the layout's code computes with another value, that one.
    Raises WeightsError for tensors of no known model, of another than `name`, or of several that differ in what
    shapes do not show.
    """
    given = dict(given or {})
    layout = layouts.recognise(list(tensors))
    ours = dict(tensors)
    if layout is not None:
        names = layout.names_back(tensors)
        ours = {mine: layout.to_ours(theirs, tensors[theirs]) for theirs, mine in names.items() if mine is not None}
    family = family_of(_family(ours, layout.family if layout else None, name))
    _known(family, given)
    implied = dict(layout.implies) if layout else {}
    model, assumed = _model(family, {n: tuple(t.shape) for n, t in ours.items()}, name, implied, given)
    found, source = fitted(tensors, model.state_dict(), to=model.name)
    return Recognised(source, model, found, assumed)


def _family(ours: Mapping[str, Tensor], of_layout: str | None, name: str | None) -> str:
    found = of_layout or shapes.family_of(ours)
    if found is None:
        raise WeightsError(
            f"the tensors are of no model that allmlp knows: {', '.join(sorted(ours)[:4])}, …",
            hint="allmlp models lists those it knows",
        )
    if name is not None and family_of(name).name != found:
        raise WeightsError(f"the tensors are of the family {found}, not of {name}", hint="leave --model out, or correct it")
    return found


def _known(family: Family, given: Mapping[str, Any]) -> None:
    """Raise for a name that is no hyper-parameter, before anything is inferred with it."""
    unknown = [key for key in given if key not in inspect.signature(family.builder).parameters]
    if unknown:
        create_model(family.name, **{unknown[0]: given[unknown[0]]})


def _model(
    family: Family, sizes: shapes.Shapes, name: str | None, implied: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[ImageModel, dict[str, Any]]:
    """The one variant that has these shapes, else the family with every value given."""
    asked = [name] if name is not None and name in family.variants else list(family.variants)
    read = {v: _read(family, sizes, {**family.variants[v], **implied}, given) for v in asked}
    unlike = {v: _contradictions(family.variants[v], values) for v, (values, _) in read.items()}
    fits = _nearest(family, {v: found for v, found in read.items() if not unlike[v]})
    if len({str(assumed) for _, assumed in fits.values()}) > 1:
        raise WeightsError(
            f"the shapes are those of {' and of '.join(fits)}, which differ in what no shape shows",
            hint=f"say which: --model {next(iter(fits))}",
        )
    for variant, (values, assumed) in fits.items():
        others = {k: v for k, v in values.items() if k not in family.variants[variant] or k in SIZES}
        return _built(variant, {**others, **given}), assumed
    if name is not None and name in family.variants:
        raise WeightsError(f"the tensors are not those of {name}: {', '.join(unlike[name])}", hint="leave --model out")
    values, assumed = _read(family, sizes, implied, given)
    return _built(family.name, {**values, **given}), assumed


def _contradictions(variant: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Where the shapes are not those of a variant, as text."""
    return [
        f"{key} is {values[key]}, not {value}"
        for key, value in variant.items()
        if key in values and key not in SIZES and values[key] != value
    ]


def _nearest(family: Family, fits: dict[str, Found]) -> dict[str, Found]:
    """Those variants that leave the fewest values to be given besides: another variant may state them all, the size too."""
    defaults = {k: p.default for k, p in inspect.signature(family.builder).parameters.items()}

    def besides(variant: str) -> int:
        values, own = fits[variant][0], {**defaults, **family.variants[variant]}
        size = own["img_size"] if isinstance(own["img_size"], tuple) else (own["img_size"],) * 2
        own |= {"img_size": size, "in_chans": values["in_chans"], "num_classes": values["num_classes"]}
        return sum(own[key] is not None and own[key] != value for key, value in values.items())

    fewest = min(map(besides, fits), default=0)
    return {variant: found for variant, found in fits.items() if besides(variant) == fewest}


def _read(family: Family, sizes: shapes.Shapes, own: Mapping[str, Any], given: Mapping[str, Any]) -> Found:
    """(hyper-parameters that the shapes show, what was assumed for the rest)."""
    parameters = inspect.signature(family.builder).parameters
    rest = shapes.Rest({**{k: p.default for k, p in parameters.items()}, **own}, given)
    if family.name not in shapes.READERS:
        raise WeightsError(f"{family.name} cannot be read off shapes", hint="create the model, then load_weights into it")
    try:
        return shapes.READERS[family.name].hyperparameters_of(sizes, rest), rest.assumed
    except WeightsError:
        raise
    except KeyError as error:
        raise WeightsError(
            f"the tensors are like those of {family.name}, but {error} is missing",
            hint="convert the whole checkpoint of an unfolded model",
        ) from None
    except (ValueError, TypeError, IndexError, ZeroDivisionError):
        raise WeightsError(
            f"the tensors have the names of {family.name}'s, but not their shapes", hint="fetch the file again"
        ) from None


def _built(name: str, values: Mapping[str, Any]) -> ImageModel:
    try:
        with torch.device("meta"):
            return create_model(name, **values)
    except AllmlpError as error:
        raise WeightsError(f"{name} with the values read off the shapes: {error.what}", hint=error.hint) from None
