"""Official layouts ↔ ours: one file per family, each with its `LAYOUTS`; found by discovery."""

from collections.abc import Sequence
from importlib import import_module
from pkgutil import iter_modules

from allmlp.weights.layouts.table import Layout

LAYOUTS: tuple[Layout, ...] = tuple(
    layout
    for module in iter_modules(__path__)
    if module.name != "table"
    for layout in import_module(f"{__name__}.{module.name}").LAYOUTS
)


def recognise(names: Sequence[str]) -> Layout | None:
    """The layout whose mark stands among a checkpoint's tensor names; None for ours or an unknown one."""
    return next((layout for layout in LAYOUTS if any(n.startswith(layout.mark) for n in names)), None)
