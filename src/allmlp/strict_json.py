"""The one way JSON is written: a number that is not finite becomes null, so that every JSON parser reads it.

Python's own json writes NaN and Infinity, which JSON does not have and most other parsers refuse.
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = True, sort_keys: bool = False) -> str:
    """Plain values as JSON text.

    Args:
        value: mappings, lists, tuples, strings, numbers, true, false and None. NaN and the infinities become null, which
            means "not finite" or "not measured" to whoever reads it.
        indent: spaces a level; None puts everything on one line.
        ascii_only: escape all other letters.
        sort_keys: write names in alphabetical order.

    Raises:
        TypeError: for anything else, such as a path or a tensor.
        ValueError: for a value that contains itself, or a name that is a number which is not finite.
    """
    options: dict[str, Any] = {"indent": indent, "ensure_ascii": ascii_only, "sort_keys": sort_keys, "allow_nan": False}
    try:
        return json.dumps(value, **options)
    except ValueError:  # a number that is not finite, or a circle, which `finite_only` does not survive
        try:
            return json.dumps(finite_only(value), **options)
        except RecursionError:
            raise ValueError("a value that contains itself cannot be written as JSON") from None


def finite_only(value: Any) -> Any:
    """Plain values with None in the place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: finite_only(inner) for name, inner in value.items()}
    return [finite_only(inner) for inner in value] if isinstance(value, list | tuple) else value
