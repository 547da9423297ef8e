"""How good a model is while it is being trained: each process looks at its share of the validation images."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from torch import nn

from allmlp import metrics
from allmlp.data.loader import Batch
from allmlp.engine.infer import gather
from allmlp.training.distributed import whole
from allmlp.training.setup import Plan


class Stopped(Exception):
    """A signal arrived in one of the processes."""


@dataclass(frozen=True)
class Verdict:
    """Exact sums over the shares of all processes, divided once."""

    images: int
    loss: float
    """Mean cross-entropy in nats; 0 without images, as the shares are."""
    top1: float
    top5: float
    unreadable: int
    teacher: dict[str, float]
    """With one: val_agreement, the share of the images it decides alike, and val_teacher_top1, its own accuracy."""

    @property
    def rank(self) -> tuple[float, float]:
        """Larger is better."""
        return self.top1, -self.loss


def validate(plan: Plan, model: nn.Module, *, note: Callable[[Batch], None], stop: Callable[[], bool]) -> Verdict:
    """Called by every process. note: given each batch. Raises Stopped in all of them when `stop` in any says so."""
    unreadable, out = 0, None

    def look(batch: Batch) -> None:
        nonlocal unreadable
        note(batch)
        unreadable += len(batch.unreadable)
        if plan.distiller is not None:
            plan.distiller.see(batch)
        if stop():
            raise Stopped

    with whole(model, plan.team) as ready, suppress(Stopped):  # the others have yet to hear of it
        out = gather(
            ready,  # type: ignore[arg-type]
            plan.val_batches,
            device=plan.device,
            precision=plan.precision,
            after=look,
        )
    mine = metrics.sums(out.logits, out.labels) if out is not None else (0, 0.0, 0, 0)
    judged = (0, 0) if out is None or plan.distiller is None else plan.distiller.judge(out.logits, out.labels, out.indices)
    images, loss, first, five, alike, right, bad, stopped = plan.team.sum([*mine, *judged, unreadable, out is None])
    if stopped:
        raise Stopped
    count = max(images, 1)
    teacher = {"val_agreement": alike / count, "val_teacher_top1": right / count} if plan.distiller is not None else {}
    return Verdict(int(images), loss / count, first / count, five / count, int(bad), teacher)
