"""TOML and plain values → recipes. Precedence: dataclass < TOML < command line."""

import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from allmlp.errors import RecipeError, one_of
from allmlp.recipe.tables import Recipe

MOST_BYTES = 1_000_000
"""A recipe is a page of text; a larger file is refused unread."""
RENAMED = {"train.patience": "train.process_timeout"}
"""Fields as earlier versions called them: recipes and run folders of theirs are read as before."""
MOST = 2**63 - 1
"""What TOML promises for a whole number."""


def packaged_recipes() -> dict[str, Path]:
    """Name → file of the recipes that come with allmlp."""
    folder = Path(str(files("allmlp") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(source: str | os.PathLike[str]) -> Recipe:
    """A packaged recipe's name or a TOML file. Raises RecipeError that names the field and what would fit."""
    known = packaged_recipes()
    path = Path(source)
    if not path.is_file():
        path = known.get(str(source).removesuffix(".toml"), path)
    if not path.is_file():
        hint = one_of(known, str(source)) if path.name == str(source) else "check the path"
        raise RecipeError(f"{source} is neither a file nor a recipe of allmlp's", hint=hint)
    if path.stat().st_size > MOST_BYTES:
        raise RecipeError(f"{path} is larger than {MOST_BYTES:,} bytes", hint="give a recipe in TOML, a page of text")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}", hint="make it readable") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not TOML: {error}", hint="see the recipes that come with allmlp for the form") from None
    try:
        return recipe_from(table)
    except RecipeError as error:
        raise RecipeError(f"{path.name}: {error.what}", hint=error.hint) from None


def recipe_from(table: Mapping[str, Any]) -> Recipe:
    """A recipe from nested plain values. Raises RecipeError for unknown fields, wrong types and impossible values."""
    recipe: Recipe = _build(Recipe, table, "")
    return recipe


def current(table: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The table with its fields' names of today. where: its own name and a dot. Raises RecipeError for both names of one."""
    found = {}
    for key, value in table.items():
        name = RENAMED.get(where + key, where + key).removeprefix(where)
        if name != key and name in table:
            raise RecipeError(f"{where}{key} is the old name of {where}{name}, which is there too", hint=f"give {where}{name}")
        found[name] = value
    return found


def _build(kind: type, table: Mapping[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    values = {}
    for key, value in current(table, where).items():
        if key not in known:
            elsewhere = [name for name in _dotted(Recipe) if name.endswith(f".{key.casefold()}")]
            near = f"did you mean {' or '.join(elsewhere)}?" if elsewhere else one_of([where + k for k in known], where + key)
            raise RecipeError(f"{where}{key} is not a field", hint=near)
        values[key] = _typed(hints[key], value, where + key)
    return kind(**values)


def _dotted(kind: type, where: str = "") -> list[str]:
    """Every field's name as the command line writes it, groups included."""
    hints = typing.get_type_hints(kind)
    names = [where + f.name for f in fields(kind)]
    return names + [n for f in fields(kind) if is_dataclass(hints[f.name]) for n in _dotted(hints[f.name], f"{where}{f.name}.")]


def _typed(hint: Any, value: Any, where: str) -> Any:
    """`value` as the annotation asks: ints become floats, lists become tuples, nothing else is converted."""
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where} is not a table", hint=f"write [{where}] above its fields")
        return _build(typing.cast(type, hint), value, f"{where}.")
    if isinstance(value, int) and abs(value) > MOST:
        raise RecipeError(f"{where} is beyond {MOST:,}", hint="use a smaller number")
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):  # a Literal or None is the older kind
        if value is None:
            return None
        return _typed(next(a for a in arguments if a is not types.NoneType), value, where)
    if origin is Literal:
        if value in arguments:
            return value
        raise RecipeError(f"{where} is {value!r}", hint=one_of(arguments, str(value)))
    if origin is tuple and isinstance(value, list | tuple):
        inner = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(inner) == len(value):
            return tuple(_typed(kind, v, where) for kind, v in zip(inner, value, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return dict(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, str) and type(value) is hint:
        return value
    raise RecipeError(f"{where} is {value!r}", hint=f"give {_name(hint)}")


def _name(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
    return names.get(hint, str(hint).replace("tuple[float, ...]", "a list of numbers").replace("tuple", "a list of "))
