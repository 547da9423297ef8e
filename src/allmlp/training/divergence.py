"""A step that left all bounds: what is kept of it, and what is said."""

import math
from collections.abc import Sequence

from allmlp.data.loader import Batch
from allmlp.data.workers import EpochOrder
from allmlp.errors import TrainingError
from allmlp.files import writing
from allmlp.run import Run
from allmlp.training.checkpoint import newest_first
from allmlp.training.finite import broken_gradients, broken_images, broken_weights
from allmlp.training.plan import Plan
from allmlp.training.tally import Bad
from allmlp.weights.files import write_tensors


class Diverged(TrainingError):
    """The loss, a gradient, a weight or the validation is not finite, or the loss far above what knowing nothing costs."""

    def __init__(self, what: str, *, hint: str, loss: float, epoch: int, step: int, bound: tuple[int, int] | None) -> None:
        """bound: the epoch and its step, from 0, from whose weights it happens again, whatever the learning rate."""
        super().__init__(what, hint=hint)
        self.loss, self.epoch, self.step, self.bound = loss, epoch, step, bound


def diverged(plan: Plan, run: Run, epoch: int, bad: Bad, *, judged: str | None = None) -> Diverged:
    """The error for a step of an epoch, from 0. Called by every process; each keeps its images of that step, the first one's in
    diverged.safetensors. judged: what of the validation after that step is not finite, where it shows there."""
    step, loss = bad.step, bad.loss
    batch, rank = _batch_at(plan, epoch, step), plan.team.rank
    path = run.diverged.with_stem(f"diverged-{rank}") if rank else run.diverged
    with writing(path):
        write_tensors(path, batch.tensors, {"epoch": str(epoch), "step": str(step), "loss": str(loss)})
    where = f"step {epoch * plan.steps + step + 1} (epoch {epoch + 1})"
    bound: tuple[int, int] | None
    if judged is not None:
        what, bound = f"validation is not finite after {where}: {judged}", (epoch, plan.steps)
    else:
        what = f"{_seen(bad)} at {where}{_cause_in_any(plan, batch, bad)}"
        bound = None if bad.broken or (math.isfinite(loss) and math.isfinite(bad.norm)) else (epoch, step)
    return Diverged(what, hint=_hint(plan, run), loss=loss, epoch=epoch, step=step, bound=bound)


def _hint(plan: Plan, run: Run) -> str:
    """What there is to go on from."""
    best = ", the best epoch's weights beside it" if run.weights().is_file() else ""
    again = f"allmlp {plan.task.command} --resume {run.folder} goes on from the last checkpoint"
    return (
        f"use a lower --optim.lr or a longer --optim.warmup, or --train.retry 1; the step's images are in {run.diverged}{best}"
        + (f", and {again}" if newest_first(run) else "")
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
