"""Values of a recipe within their bounds."""

from typing import Any

from allmlp.errors import RecipeError


def within(
    group: Any,
    name: str,
    *,
    least: float = float("-inf"),
    above: float = float("-inf"),
    most: float = float("inf"),
    below: float = float("inf"),
) -> None:
    """Raises RecipeError for a field of `group` that is neither None nor within the bounds."""
    value = getattr(group, name)
    if value is None or (least <= value <= most and above < value < below):
        return
    low = f"≥ {least:g}" if least > float("-inf") else f"> {above:g}" if above > float("-inf") else ""
    high = f"≤ {most:g}" if most < float("inf") else f"< {below:g}" if below < float("inf") else ""
    kind = type(group).__name__.lower()
    where = name if kind == "recipe" else f"{kind}.{name}"
    raise RecipeError(f"{where} is {value}", hint=f"use a value {' and '.join(x for x in (low, high) if x)}")
