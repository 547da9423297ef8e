"""Official layouts ↔ ours: one file per family, each with its `LAYOUTS`; found by discovery."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from pkgutil import iter_modules

from allmlp.errors import WeightsError, one_of
from allmlp.weights.layouts.table import Layout

LAYOUTS: tuple[Layout, ...] = tuple(
    layout
    for module in iter_modules(__path__)
    if module.name != "table"
    for layout in import_module(f"{__name__}.{module.name}").LAYOUTS
)
KINDS = ("official", "timm")
"""Whose layout: that of the authors' release, or of timm's port."""


def recognise(names: Sequence[str]) -> Layout | None:
    """The layout whose mark stands among a checkpoint's tensor names; None for ours or an unknown one."""
    return next((layout for layout in LAYOUTS if any(n.startswith(layout.mark) for n in names)), None)


def layout_for(kind: str, family: str, ours: Iterable[str]) -> tuple[Layout, dict[str, str]]:
    """The layout of a kind in which a model of ours can be written, and our names → its names.

    Raises WeightsError when the family has no such layout, or it has no name for some of the tensors.
    """
    of_family = [layout for layout in LAYOUTS if layout.family == family]
    fitting = [layout for layout in of_family if (layout.source == "timm") == (kind == "timm")]
    if kind not in KINDS or not fitting:
        there = ["allmlp", *dict.fromkeys("timm" if layout.source == "timm" else "official" for layout in of_family)]
        raise WeightsError(f"{family} has no layout {kind!r}", hint=one_of(there, kind))
    unnamed: list[str] = []
    for layout in fitting:
        names = layout.names_of(ours)
        named = {name: theirs for name, theirs in names.items() if theirs is not None}
        if len(named) == len(names) and recognise(list(named.values())) is layout:
            return layout, named
        unnamed = unnamed or [name for name in names if name not in named]
    raise WeightsError(
        f"the layout {fitting[0].source} has no name for {len(unnamed)} tensors, such as {', '.join(unnamed[:3])}",
        hint="keep this model in allmlp's own layout: its authors have none like it",
    )
