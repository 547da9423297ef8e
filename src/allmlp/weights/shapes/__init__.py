"""Names and shapes of a checkpoint's tensors → the hyper-parameters of its model: one file per family, found by discovery.

Each has `MARK`, the beginning of a name of ours that gives the family away, and `hyperparameters_of`. What no shape
shows is taken from the variant, or said by the user (`Rest`).
"""

from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from allmlp.weights.shapes.reading import Rest, Shapes

READERS: dict[str, ModuleType] = {
    module.name: import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__) if module.name != "reading"
}
"""Family → its reader."""


def family_of(names: Iterable[str]) -> str | None:
    """The family whose mark stands among our names; None for a stranger."""
    names = list(names)
    return next((f for f, reader in READERS.items() if any(n.startswith(reader.MARK) for n in names)), None)


__all__ = ["READERS", "Rest", "Shapes", "family_of"]
