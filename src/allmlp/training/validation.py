"""How good a model is while it is being trained: each process looks at its share of the validation images."""

from contextlib import suppress
from dataclasses import dataclass

from torch import nn

from allmlp import metrics
from allmlp.data.loader import Batch
from allmlp.engine.infer import gather
from allmlp.errors import TrainingError
from allmlp.training.distributed import whole
from allmlp.training.plan import Look, Plan, Stopped
from allmlp.training.products import multiplied


@dataclass(frozen=True)
class Verdict:
    """Exact sums over the shares of all processes, divided once."""

    images: int
    loss: float
    """Mean cross-entropy in nats."""
    top1: float
    top5: float
    unreadable: int
    broken: str | None
    """For which images logits are not finite; the accuracies then say nothing."""
    teacher: dict[str, float]
    """With one: val_agreement, the share of the images it decides alike, and val_teacher_top1, its own accuracy."""


def validate(plan: Plan, model: nn.Module, look: Look) -> Verdict:
    """Called by every process. Raises Stopped in all of them when `look.stop` in any says so, TrainingError without images."""
    unreadable, out = 0, None

    def after(batch: Batch) -> None:
        nonlocal unreadable
        look.note(batch)
        unreadable += len(batch.unreadable)
        if plan.distiller is not None:
            plan.distiller.see(batch)
        if look.stop():
            raise Stopped

    with whole(model, plan.team) as ready, multiplied(plan.products), suppress(Stopped):  # the others have yet to hear of it
        out = gather(
            ready,  # type: ignore[arg-type]
            plan.val_batches,
            device=plan.device,
            precision=plan.precision,
            after=after,
        )
    spoiled = None if out is None else ~out.logits.isfinite().all(1)
    mine = metrics.sums(out.logits, out.labels) if out is not None else (0, 0.0, 0, 0)
    judged = (0, 0) if out is None or plan.distiller is None else plan.distiller.judge(out.logits, out.labels, out.indices)
    lost = 0 if spoiled is None else int(spoiled.sum())
    found = plan.team.sum([*mine, *judged, unreadable, out is None, lost])
    images, loss, first, five, alike, right, bad, stopped, lost_by_all = found
    if stopped:
        raise Stopped
    if not images:
        raise TrainingError(
            "no validation image could be read", hint="see unreadable.jsonl in the run's folder and replace the files"
        )
    teacher = {"val_agreement": alike / images, "val_teacher_top1": right / images} if plan.distiller is not None else {}
    broken = None
    if lost_by_all:
        mine_first = None if out is None or not lost else plan.source.val.name(int(out.indices[spoiled][0]))
        name = next(name for name in plan.team.gathered(mine_first) if name is not None)
        broken = f"not all logits are finite for {int(lost_by_all):,} of {int(images):,} images, {name} the first of them"
    return Verdict(int(images), loss / images, first / images, five / images, int(bad), broken, teacher)
