"""The task of learning labels, and a teacher's answers where there is one."""

# axes: b batch, c channels, h w pixels, k classes

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.data.loader import Batch
from allmlp.data.mix import Mix
from allmlp.engine.device import autocast, placed
from allmlp.training.checkpoint import Position
from allmlp.training.distillation.distiller import Distiller
from allmlp.training.objectives import Objective
from allmlp.training.plan import Choice, Judged, Look, Losses, Plan, Product, of_images
from allmlp.training.validation import validate


def judged_of(
    record: dict[str, Any], choices: Mapping[str, Choice], broken: Mapping[str, str | None], unreadable: int
) -> Judged:
    """The verdict on raw weights and, where there is one, their running mean, by these names ("raw", "ema").

    Raw weights whose validation is not finite (`broken` says what) end the run. A running mean alone is passed over: the raw
    weights can be best, training goes on, and a person is told.
    """
    if broken["raw"]:
        return Judged(record, choices["raw"], choices["raw"], unreadable, broken=broken["raw"])
    best = max((choice for name, choice in choices.items() if not broken[name]), key=lambda choice: choice.rank)
    mean = broken.get("ema")
    worrying = None if mean is None else f"the running mean (EMA) of the weights cannot be best: {mean}"
    return Judged(record, best, choices["raw"], unreadable, worrying)


class Supervised:
    """Images and labels, mixed or not → the objective, of which a teacher may have its share."""

    command, counts = "train", "images"
    parts: Mapping[str, nn.Module] = {}

    def __init__(self, mix: Mix, objective: Objective, distiller: Distiller | None) -> None:
        self.mix, self.objective, self.distiller = mix, objective, distiller

    def given(self, plan: Plan, batch: Batch, *, mixing: bool) -> tuple[Tensor, ...]:
        """b c h w images, b k targets, b indices; where the images are not mixed, b labels."""
        images, labels, indices = batch.images, batch.labels, batch.indices
        if not len(labels):
            images, labels = torch.zeros(1, plan.model.in_chans, *plan.model.img_size), torch.zeros(1, dtype=torch.long)
            indices = labels
        images, labels = placed(images, plan.model, plan.device), labels.to(plan.device, non_blocking=True)
        mixed, target = self.mix(images, labels, mixing=mixing)
        return (mixed, target, indices, labels) if mixed is images else (mixed, target, indices)

    def losses(self, plan: Plan, given: tuple[Tensor, ...], number: int) -> Losses:
        """As `given` gave them; chance is the loss of all logits zero."""
        images, target, indices, *labels = given
        with autocast(plan.device, plan.precision):
            logits = plan.forward(images)
        objective = self.objective if self.distiller is None else self.distiller.objective(self.objective, images, indices)
        loss = objective(logits, target)
        with torch.no_grad():
            chance = objective(torch.zeros_like(logits), target)
        return Losses(loss, chance, (logits.detach().argmax(1) == labels[0]).sum() if labels else None)

    def about_to_move(self, plan: Plan, number: int) -> None:
        """Nothing: the gradients are what they should be."""

    def moved(self, plan: Plan, number: int, images: int) -> None:
        """Nothing: all that was learnt is in the weights."""

    def judge(self, plan: Plan, epoch: int, look: Look) -> Judged:
        """Accuracy of the weights, and of their running mean, on the validation images."""
        val = validate(plan, plan.model, look)
        found = {"raw": val}
        record: dict[str, Any] = {
            **plan.img_size,
            "val_loss": val.loss,
            "val_top1": val.top1,
            "val_top5": val.top5,
            **val.teacher,
        }
        if plan.ema is not None:
            found["ema"] = ema = validate(plan, plan.ema.module, look)
            record |= {"ema_loss": None, "ema_top1": None} if ema.broken else {"ema_loss": ema.loss, "ema_top1": ema.top1}
        choices = {name: Choice(name, verdict.top1, verdict.loss) for name, verdict in found.items()}
        return judged_of(record, choices, {name: verdict.broken for name, verdict in found.items()}, val.unreadable)

    def product(self, plan: Plan) -> Product:
        """All of the model."""
        return of_images(plan.model)

    def ending(self, at: Position) -> str:
        return f"best validation top-1 {at.best_top1:.2%} at epoch {at.best_epoch} ({at.best_weights} weights)"
