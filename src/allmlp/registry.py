"""Name → builder. Architectures announce themselves here; nothing here knows any of them."""

import fnmatch
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from allmlp.errors import ModelError, one_of
from allmlp.pages import own_pages


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture: its class, its table of variants, and what its paper reports."""

    name: str
    builder: Callable[..., nn.Module]
    variants: Mapping[str, Mapping[str, Any]]
    """Variant → the hyper-parameters that make it."""
    published: Mapping[str, float]
    """Variant → ImageNet-1k top-1 in percent, trained on ImageNet-1k alone, as the paper states it."""
    licences: Mapping[str, str]
    """Variant → licence of the weights its authors released; absent where there are none."""
    paper: str


_families: dict[str, Family] = {}
_family_of: dict[str, Family] = {}


def register(
    name: str,
    *,
    variants: Mapping[str, Mapping[str, Any]],
    paper: str,
    published: Mapping[str, float] | None = None,
    licences: Mapping[str, str] | None = None,
) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: make an architecture and its variants known by name."""

    def decorate(builder: type[nn.Module]) -> type[nn.Module]:
        family = Family(
            name=name,
            builder=builder,
            variants=variants,
            published=published or {},
            licences=licences or {},
            paper=paper,
        )
        taken = [n for n in (name, *variants) if n in _families or n in _family_of]
        if taken:
            raise ModelError(f"{', '.join(taken)} registered twice", hint="give each architecture names of its own")
        vars_of: Any = builder
        vars_of.name = vars_of.family = name
        _families[name] = family
        _family_of.update(dict.fromkeys(variants, family))
        return builder

    return decorate


def families() -> list[Family]:
    """Every architecture, by name."""
    return [_families[name] for name in sorted(_families)]


def family_of(name: str) -> Family:
    """The architecture a variant's or family's name belongs to. Raises ModelError for an unknown name."""
    family = _family_of.get(name) or _families.get(name)
    if family is None:
        raise ModelError(f"no model is named {name!r}", hint=one_of([*_family_of, *_families], name))
    return family


def list_models(pattern: str = "*") -> list[str]:
    """The variants' names that match a shell pattern such as "resmlp_*", sorted."""
    return sorted(fnmatch.filter(_family_of, pattern))


def create_model(name: str, **hyperparameters: Any) -> nn.Module:
    """Build a model with fresh weights.

    name: a variant ("resmlp_s12") or a family ("resmlp") whose values are then given explicitly.
    hyperparameters: keyword-only values of the family's class; they win over the variant's own.
    Raises ModelError for an unknown name or value, with what would fit.
    """
    family = family_of(name)
    parameters = inspect.signature(family.builder).parameters
    for key in hyperparameters:
        if key not in parameters:
            raise ModelError(f"{name} has no hyper-parameter {key!r}", hint=one_of(parameters, key))
    values = {**family.variants.get(name, {}), **hyperparameters}
    missing = [k for k, p in parameters.items() if p.default is p.empty and k not in values]
    if missing:
        raise ModelError(
            f"{name} is a family: it does not say {', '.join(missing)}",
            hint=f"give {', '.join(f'{k}=…' for k in missing)}, or a variant: {', '.join(sorted(family.variants))}",
        )
    with own_pages():
        model = family.builder(**values)
    model.name = name  # type: ignore[assignment]
    return model
