"""The run folder's JSON as typed records: what a field is missing or is of another type is damaged."""

import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any, NewType
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from allmlp.errors import RunError
from allmlp.run import Run, read_json, read_lines

Counts = NDArray[np.int64]
Share = NewType("Share", float)
"""In [0, 1]."""
Loss = NewType("Loss", float)
"""In nats; not finite where training diverged."""
REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Unicode's controls of writing direction: with them a name could rewrite the numbers beside it."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The epoch whose weights were kept."""

    epoch: int
    top1: Share
    weights: str = "raw"


@dataclass(frozen=True, kw_only=True)
class State:
    """run.json."""

    data: str
    data_spec: str | None = None
    command: str = ""
    seed: int
    state: str
    epochs_done: int
    epochs: int
    best: Best | None = None
    seconds: float
    started: datetime | None = None
    allmlp: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Training or validation images."""

    images: int
    per_class: list[int]


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A file that could not be used."""

    path: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Data:
    """data.json."""

    source: str
    classes: list[str]
    in_chans: int
    split: str
    train: Part
    val: Part
    left_out: list[LeftOut] = field(default_factory=list)
    left_out_count: int = 0
    ignored_files: int = 0

    def __post_init__(self) -> None:
        if not len(self.classes) == len(self.train.per_class) == len(self.val.per_class):
            raise ValueError("per_class does not have one number per class")


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A line of metrics.jsonl. Shares are in [0, 1]; None is what was not measured."""

    epoch: int
    img_height: int | None = None
    img_width: int | None = None
    lr: float
    train_loss: Loss | None = None
    train_top1: Share | None = None
    val_loss: Loss
    val_top1: Share
    ema_loss: Loss | None = None
    ema_top1: Share | None = None
    images_per_s: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What happens to a picture before the model sees it."""

    img_size: list[int]
    in_chans: int
    mean: list[float]
    std: list[float]
    crop_ratio: float
    crop_mode: str
    interpolation: str


@dataclass(frozen=True, kw_only=True)
class Model:
    """best.json."""

    name: str
    family: str
    hyperparameters: dict[str, Any]
    classes: list[str]
    preprocessing: Preprocessing
    parameters: int
    macs: int
    epoch: int
    top1: Share


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """How one class fared; None where there is nothing to divide by."""

    class_: str
    images: int
    accuracy: Share | None = None
    precision: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Images whose winner's probability is in [low, high)."""

    low: Share
    high: Share
    images: int
    confidence: Share
    accuracy: Share


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A picture that was taken for another class. picture: relative to the evaluation folder."""

    picture: str
    path: str
    label: str
    predicted: str
    confidence: Share


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """evaluation/SPLIT.json. confusion: k × k counts, a row per true class."""

    data: str
    split: str
    weights: str
    images: int
    top1: Share
    top5: Share
    calibration_error: Share
    per_class: list[ClassResult]
    confusion: Counts
    calibration: list[Bin]
    mistakes: list[Mistake] = field(default_factory=list)
    unreadable: int = 0
    evaluated: datetime

    def __post_init__(self) -> None:
        if self.confusion.shape != (len(self.per_class),) * 2:
            raise ValueError("confusion is not a square of the classes")


@dataclass(frozen=True, kw_only=True)
class Records:
    """All that a report is made of; None or empty where the run has not come that far."""

    state: State
    data: Data | None
    epochs: list[Epoch]
    model: Model | None
    environment: dict[str, Any]
    recipe: str
    evaluations: list[Evaluation]
    """The one to show comes first: test, else val, else the newest."""
    undecodable: list[LeftOut]
    """Each file once, however many epochs met it."""


def read_records(run: Run) -> Records:
    """Raises RunError for a file that is damaged; run.json alone must be there."""
    state: State = _read(State, run.state)
    found = [_read(Evaluation, path) for path in sorted(run.evaluation.glob("*.json"))]
    undecodable = {entry.path: entry for entry in _read_each(LeftOut, run.unreadable)}
    return Records(
        state=state,
        data=_read_if_there(Data, run.data),
        epochs=_read_each(Epoch, run.metrics),
        model=_read_if_there(Model, run.weights("best").with_suffix(".json")),
        environment=_read_if_there(dict[str, Any], run.environment) or {},
        recipe=run.recipe.read_text(encoding="utf-8", errors="replace") if run.recipe.is_file() else "",
        evaluations=sorted(found, key=lambda e: (e.split == "test", e.split == "val", e.evaluated), reverse=True),
        undecodable=list(undecodable.values()),
    )


def _read(kind: Any, path: Path) -> Any:
    with _understanding(path):
        return typed(kind, read_json(path))


def _read_if_there(kind: Any, path: Path) -> Any:
    return _read(kind, path) if path.is_file() else None


def _read_each(kind: Any, path: Path) -> list[Any]:
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
        raise RunError(f"{path} is not as allmlp wrote it: {error}", mend="restore the file, or train again") from None


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


def visible(text: str) -> str:
    """The same with a replacement character for each letter that a page cannot show, or that would reorder others."""
    hidden = {letter for letter in text if category(letter) in ("Cc", "Cs") or letter in REORDERING}
    return text.translate(dict.fromkeys(map(ord, hidden), "\N{REPLACEMENT CHARACTER}"))


def _counts(value: Any, where: str) -> Counts:
    counts = np.array(value)
    if counts.ndim != 2 or counts.dtype.kind != "i" or (counts < 0).any():
        raise ValueError(f"{where} is not a table of counts")
    return counts.astype(np.int64)
