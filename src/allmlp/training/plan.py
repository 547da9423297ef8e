"""All parts of one training run, and what a task must be able to do to be learnt in its loop."""

# axes: b batch

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.utils.data import DataLoader

from allmlp.data.images import Source
from allmlp.data.loader import Batch
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.models.base import ImageModel
from allmlp.recipe import Recipe
from allmlp.training.checkpoint import Position
from allmlp.training.distillation.distiller import Distiller
from allmlp.training.distributed import Forward, Team
from allmlp.training.optim import Schedule
from allmlp.training.sizes import Sizes


class Stopped(Exception):
    """A signal arrived in one of the processes."""


@dataclass(frozen=True)
class Losses:
    """Of some images, as means over them, still on the device."""

    loss: Tensor
    chance: Tensor
    """Of a model that knows nothing: all its outputs zero."""
    hits: Tensor | None
    """How many were right before the update; None where that cannot be said."""


@dataclass(frozen=True)
class Choice:
    """Weights, and how good they are."""

    weights: str
    """"raw", or "ema" for their running mean."""
    top1: float | None
    """None where it was not measured."""
    loss: float = float("inf")

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better."""
        return -1.0 if self.top1 is None else self.top1, -self.loss


@dataclass(frozen=True)
class Judged:
    """What was found at the end of an epoch."""

    record: dict[str, Any]
    """For metrics.jsonl, without what every run says."""
    best: Choice
    """The better of what there is."""
    last: Choice
    """What a run that ends here leaves."""
    unreadable: int
    worrying: str | None = None
    """What a person should know of it."""
    broken: str | None = None
    """What is not finite, so that training ends here; the same in all processes. The rest then says nothing."""


@dataclass(frozen=True)
class Look:
    """How the loop takes part in looking at images. Both are called for every batch."""

    note: Callable[[Batch], None]
    stop: Callable[[], bool]
    """Whether a signal has arrived in this process."""


@dataclass(frozen=True)
class Product:
    """What a run leaves: some of the trained model's tensors, and all that is needed to use them."""

    names: frozenset[str]
    card: dict[str, Any]


def of_images(model: ImageModel) -> Product:
    """The product that has the tensors of this model, whose weights say nothing."""
    cost = {"parameters": parameters(model), "macs": multiply_adds(model)}
    return Product(frozenset(model.state_dict()), {**model.card(), **cost})


class Task(Protocol):
    """What is learnt: all of a step, of a checkpoint and of an epoch's end that depends on it."""

    command: str
    """The words after allmlp with which a run goes on."""
    counts: str
    """What its labels are: "images", or "pieces" of text."""

    parts: Mapping[str, nn.Module]
    """What a checkpoint holds of it, by name; the same in all processes."""

    def given(self, plan: "Plan", batch: Batch, *, mixing: bool) -> tuple[Tensor, ...]:
        """A batch on the device: tensors of b rows, which may pass in several parts. Where the batch is empty, rows that
        may be anything: they weigh nothing."""

    def losses(self, plan: "Plan", given: tuple[Tensor, ...], number: int) -> Losses:
        """Of (a part of) what `given` gave, in step `number` of the run."""

    def about_to_move(self, plan: "Plan", number: int) -> None:
        """Called with the gradients of step `number`, before they are clipped."""

    def moved(self, plan: "Plan", number: int, images: int) -> None:
        """Called after the weights have changed. images: of this process."""

    def judge(self, plan: "Plan", epoch: int, look: Look) -> Judged:
        """At the end of an epoch, from 1, in every process. Raises Stopped in all of them."""

    def product(self, plan: "Plan") -> Product:
        """What the run leaves."""

    def ending(self, at: Position) -> str:
        """What a finished run came to."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All parts of one training run."""

    recipe: Recipe
    source: Source
    team: Team
    model: ImageModel
    forward: Forward
    """The model, with whatever lets several processes train it."""
    parallel: str
    """ "none", "ddp" or "fsdp"."""
    ema: ModelEmaV3 | None
    train_batches: DataLoader[Batch]
    val_batches: DataLoader[Batch]
    task: Task
    distiller: Distiller | None
    """The teacher's part in the task, where there is one."""
    optimiser: torch.optim.Optimizer
    scaler: GradScaler
    schedule: Schedule
    device: torch.device
    precision: str
    products: str
    """What multiplies: "torch" or "onednn"."""
    steps: int
    """Steps in an epoch."""
    sizes: Sizes
    """Which image size each epoch has; the model and the batches have one of them."""
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Of a sparse model: true where a weight stays, by the parameter's name; all others are zero after each step."""

    @property
    def img_size(self) -> dict[str, int]:
        """What metrics.jsonl says of it."""
        height, width = self.model.img_size
        return {"img_height": height, "img_width": width}

    @property
    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds besides the position, by name."""
        parts: dict[str, Any] = {"model": self.model, "optimiser": self.optimiser}
        if self.ema is not None:
            parts["ema"] = self.ema.module
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler
        return parts | dict(self.task.parts)
