"""JSON as typed records: what a field is missing or is of another type is damaged."""

import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, NewType

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import RunError, visible
from allmlp.run import read_json, read_lines

Counts = NDArray[np.int64]
Share = NewType("Share", float)
"""In [0, 1]."""
Loss = NewType("Loss", float)
"""In nats; not finite where training diverged."""


def read(kind: Any, path: Path) -> Any:
    """A JSON file as `kind`. Raises RunError for one that is missing or damaged."""
    with _understanding(path):
        return typed(kind, read_json(path))


def read_if_there(kind: Any, path: Path) -> Any:
    """The same; None where there is no file."""
    return read(kind, path) if path.is_file() else None


def read_each(kind: Any, path: Path) -> list[Any]:
    """Each line of JSON as `kind`; none where there is no file."""
    with _understanding(path):
        return [typed(kind, line) for line in read_lines(path)]


@contextmanager
def _understanding(path: Path) -> Iterator[None]:
    """Turns what goes wrong with a file's content into a RunError that names the file."""
    try:
        yield
    except RunError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{path} is not as allmlp wrote it: {error}", hint="restore the file, or train again") from None


def typed(hint: Any, value: Any, where: str = "the content") -> Any:
    """`value` as the annotation asks; unknown keys are passed over. Raises TypeError or ValueError for what does not fit."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if hint == Counts:
        return _counts(value, where)
    if hint is datetime:
        return datetime.fromisoformat(typed(str, value, where)).astimezone(UTC)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else typed(inner[0], value, where)
    if is_dataclass(hint):
        return _record(hint, value, where)
    if hint in (int, float, Share, Loss):
        return _number(hint, value, where)
    _expect(origin or hint, value, where)
    if origin is list:
        return [typed(inner[0], item, where) for item in value]
    return visible(value) if hint is str else value


def _record(hint: Any, value: Any, where: str) -> Any:
    _expect(dict, value, where)
    hints = typing.get_type_hints(hint)
    keys = {f.name: f.name.rstrip("_") for f in fields(hint)}  # class_ is written "class"
    return hint(**{name: typed(hints[name], value[key], key) for name, key in keys.items() if key in value})


def _number(hint: Any, value: Any, where: str) -> Any:
    """A count from zero, a share (rounding may have taken it a little out of [0, 1]), a loss, or a finite number."""
    _expect(int if hint is int else (int, float), value, where)
    rounding = 1e-6
    fits = {int: value >= 0, float: isfinite(value), Share: -rounding <= value <= 1 + rounding, Loss: True}
    if not fits[hint]:
        raise ValueError(f"{where} is {value}")
    return min(max(value, 0.0), 1.0) if hint is Share else value


def _expect(kind: Any, value: Any, where: str) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{where} is of type {type(value).__name__}")


def _counts(value: Any, where: str) -> Counts:
    counts = np.array(value)
    if counts.ndim != 2 or counts.dtype.kind != "i" or (counts < 0).any():
        raise ValueError(f"{where} is not a table of counts")
    return counts.astype(np.int64)
