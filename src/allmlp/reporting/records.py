"""What a run folder holds, as records."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from allmlp.reporting.reading import Counts, Loss, Share, read, read_each, read_if_there
from allmlp.run import Run


@dataclass(frozen=True, kw_only=True)
class Best:
    """The epoch whose weights were kept."""

    epoch: int
    top1: Share | None
    """Of nearest neighbours where no labels were learnt; None where there were none at all."""
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
    cpu_seconds: float | None = None
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
class Deep:
    """What some training images are: how many were looked at, and how many of them have more than 8 bits a channel."""

    looked: int
    deep: int
    grey: bool
    range: list[float] | None = None
    """The values that become 0 and 255."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """data.json."""

    source: str
    classes: list[str]
    in_chans: int
    split: str
    train: Part
    val: Part
    test: Part | None = None
    found: list[str] = field(default_factory=list)
    """In words: how the images were found, what was passed over, copies, and uneven classes."""
    duplicates: dict[str, Any] | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    left_out_count: int = 0
    ignored_files: int = 0
    deep: Deep | None = None

    def __post_init__(self) -> None:
        splits = [self.train, self.val, *([] if self.test is None else [self.test])]
        if any(len(split.per_class) != len(self.classes) for split in splits):
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
    val_loss: Loss | None = None
    val_top1: Share | None = None
    ema_loss: Loss | None = None
    ema_top1: Share | None = None
    knn_top1: Share | None = None
    teacher_entropy: float | None = None
    """This and the next as shares of the most there could be, of runs without labels."""
    teacher_information: float | None = None
    images_per_s: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Step:
    """A line of steps.jsonl. Norms are not finite where training diverged."""

    step: int
    grad_norm: Loss | None = None
    weight_norm: Loss | None = None


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
    value_range: list[float] | None = None
    page: int | None = None


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
    top1: Share | None


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
    examples: list[Mistake] = field(default_factory=list)
    unreadable: int = 0
    evaluated: datetime

    def __post_init__(self) -> None:
        if self.confusion.shape != (len(self.per_class),) * 2:
            raise ValueError("confusion is not a square of the classes")


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """One kind, its accuracy at each strength. picture: relative to the folder of such pictures."""

    name: str
    accuracy: list[Share]
    picture: str


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """robustness.json. epoch: whose weights were measured."""

    data: str
    images: int
    epoch: int | None = None
    clean: Share
    mean: Share
    benchmark: str
    corruptions: list[Corruption]
    measured: datetime

    def __post_init__(self) -> None:
        if not self.corruptions or any(len(one.accuracy) != 5 for one in self.corruptions):
            raise ValueError("a corruption does not have five strengths")


@dataclass(frozen=True, kw_only=True)
class Size:
    """One size of pictures, in pixels."""

    width: int
    height: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Least, median and most, in pixels; None where there is no picture."""

    width: list[float] | None
    height: list[float] | None
    different: int
    common: list[Size]

    def __post_init__(self) -> None:
        if not (self.width is None) == (self.height is None) or (self.width and len(self.width) != 3):
            raise ValueError("sizes are not three of each side")


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Images that are there more than once, to the byte."""

    held_out: int
    repeated: int
    contradictory: int
    examples: list[list[str]]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """datasheet.json."""

    images: int
    sizes: Sizes
    duplicates: Duplicates | None = None
    looked: datetime


@dataclass(frozen=True, kw_only=True)
class Records:
    """All that a report is made of; None or empty where the run has not come that far."""

    state: State
    data: Data | None
    epochs: list[Epoch]
    steps: list[Step]
    model: Model | None
    environment: dict[str, Any]
    recipe: str
    evaluations: list[Evaluation]
    """The one to show comes first: test, else val, else the newest."""
    robustness: Robustness | None
    sheet: Sheet | None
    undecodable: list[LeftOut]
    """Each file once, however many epochs met it."""

    @property
    def without_labels(self) -> bool:
        """Whether features were learnt and no classes."""
        return any(epoch.teacher_entropy is not None for epoch in self.epochs) or (
            self.model is not None and not self.model.classes
        )


def read_records(run: Run) -> Records:
    """Raises RunError for a file that is damaged; run.json alone must be there."""
    state: State = read(State, run.state)
    found = [read(Evaluation, path) for path in sorted(run.evaluation.glob("*.json"))]
    undecodable = {entry.path: entry for entry in read_each(LeftOut, run.unreadable)}
    return Records(
        state=state,
        data=read_if_there(Data, run.data),
        epochs=read_each(Epoch, run.metrics),
        steps=read_each(Step, run.steps),
        model=read_if_there(Model, run.weights("best").with_suffix(".json")),
        environment=read_if_there(dict[str, Any], run.environment) or {},
        recipe=run.recipe.read_text(encoding="utf-8", errors="replace") if run.recipe.is_file() else "",
        evaluations=sorted(found, key=lambda e: (e.split == "test", e.split == "val", e.evaluated), reverse=True),
        robustness=read_if_there(Robustness, run.robustness),
        sheet=read_if_there(Sheet, run.datasheet),
        undecodable=list(undecodable.values()),
    )
