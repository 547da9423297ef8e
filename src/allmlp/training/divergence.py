"""A step that left all bounds: what is kept of it, and what is said."""

import math
from collections.abc import Sequence

from allmlp.data.loader import Batch
from allmlp.data.workers import EpochOrder
from allmlp.errors import TrainingError
from allmlp.files import writing
from allmlp.run import Run
from allmlp.training.finite import broken_gradients, broken_images, broken_weights
from allmlp.training.plan import Plan
from allmlp.training.tally import Bad
from allmlp.weights.files import write_tensors


class Diverged(TrainingError):
    """The loss, a gradient or a weight is not finite, or the loss far above what knowing nothing costs."""

    def __init__(self, what: str, *, hint: str, loss: float, epoch: int, step: int) -> None:
        super().__init__(what, hint=hint)
        self.loss, self.epoch, self.step = loss, epoch, step


def diverged(plan: Plan, run: Run, epoch: int, bad: Bad) -> Diverged:
    """The error for a step of an epoch, from 0. Called by every process; each keeps its images of that step, the first one's in
    diverged.safetensors."""
    step, loss = bad.step, bad.loss
    batch, rank = _batch_at(plan, epoch, step), plan.team.rank
    path = run.diverged.with_stem(f"diverged-{rank}") if rank else run.diverged
    with writing(path):
        write_tensors(path, batch.tensors, {"epoch": str(epoch), "step": str(step), "loss": str(loss)})
    return Diverged(
        f"{_seen(bad)} at step {epoch * plan.steps + step + 1} (epoch {epoch + 1}){_cause_in_any(plan, batch, bad)}",
        hint="use a lower --optim.lr or a longer --optim.warmup, or --train.retry 1; "
        f"the step's images are in {run.diverged}, the best epoch's weights beside it, and "
        f"allmlp {plan.task.command} --resume {run.folder} goes on from the last checkpoint",
        loss=loss,
        epoch=epoch,
        step=step,
    )


def refuse_broken(plan: Plan, run: Run, epoch: int, bad: Bad) -> None:
    """Raises Diverged in all processes, before anything is written, when in any of them a weight is not finite. bad: the last
    step."""
    if any(plan.team.gathered(bool(broken_weights(plan)))):
        raise diverged(plan, run, epoch, bad)


def _seen(bad: Bad) -> str:
    """What was noticed first."""
    if bad.broken:
        return "weights are not finite"
    by_norm = math.isfinite(bad.loss) and not math.isfinite(bad.norm)
    return f"the gradient's norm is {bad.norm:.4g}" if by_norm else f"the loss is {bad.loss:.4g}"


def _cause_in_any(plan: Plan, batch: Batch, bad: Bad) -> str:
    """Where it began, as far as any process can see it. A loss that is none makes all gradients so: they tell nothing."""
    mine = _listed("weights", broken_weights(plan)) or _listed("images", broken_images(plan, batch))
    if mine is None and math.isfinite(bad.loss):
        mine = _listed("gradients", broken_gradients(plan))
    return next((f": {cause}" for cause in plan.team.gathered(mine) if cause), "")


def _listed(what: str, names: Sequence[str]) -> str | None:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"not all {what} are finite in {names[0]}{more}" if names else None


def _batch_at(plan: Plan, epoch: int, step: int) -> Batch:
    """The images of one step, made again: they follow from the seed, the epoch and their numbers alone."""
    order = plan.train_batches.batch_sampler
    assert isinstance(order, EpochOrder)
    order.epoch, order.start = epoch, step
    batch: Batch = next(iter(plan.train_batches))
    return batch
