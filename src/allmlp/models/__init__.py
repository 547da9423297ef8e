"""One file per architecture. Importing this package makes every one of them known by name."""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from allmlp import registry
from allmlp.registry import list_models

if TYPE_CHECKING:
    from allmlp.models.base import ImageModel

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def create_model(name: str, **hyperparameters: Any) -> "ImageModel":
    return registry.create_model(name, **hyperparameters)  # type: ignore[return-value]


create_model.__doc__ = registry.create_model.__doc__

__all__ = ["create_model", "list_models"]
