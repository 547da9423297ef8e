"""Libraries that only some sources need."""

from importlib import import_module
from typing import Any

from allmlp.errors import DataError


def needed(module: str, extra: str, what: str) -> Any:
    """The module. Raises DataError that names the extra to install where it is missing."""
    try:
        return import_module(module)
    except ImportError:
        raise DataError(f"{what} needs the library {module}", hint=f"pip install 'allmlp[{extra}]'") from None
