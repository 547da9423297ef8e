"""A loss that left all bounds: what is kept of it, and what is said."""

from allmlp.data.loader import Batch, EpochOrder
from allmlp.errors import TrainingError
from allmlp.files import writing
from allmlp.run import Run
from allmlp.training.plan import Plan
from allmlp.weights.files import write_tensors


class Diverged(TrainingError):
    """The loss is not finite, or far above what knowing nothing costs."""

    def __init__(self, what: str, *, mend: str, loss: float, epoch: int, step: int) -> None:
        super().__init__(what, mend=mend)
        self.loss, self.epoch, self.step = loss, epoch, step


def diverged(plan: Plan, run: Run, *, epoch: int, step: int, loss: float) -> Diverged:
    """The error for a step of an epoch, both from 0; each process keeps its images of that step, the first one's in
    diverged.safetensors."""
    batch, rank = _batch_at(plan, epoch, step), plan.team.rank
    path = run.diverged.with_stem(f"diverged-{rank}") if rank else run.diverged
    with writing(path):
        write_tensors(path, batch.tensors, {"epoch": str(epoch), "step": str(step), "loss": str(loss)})
    return Diverged(
        f"the loss is {loss:.4g} at step {epoch * plan.steps + step + 1} (epoch {epoch + 1})",
        mend="use a lower --optim.lr or a longer --optim.warmup, or --train.retry 1; "
        f"the step's images are in {run.diverged}, the best epoch's weights beside it",
        loss=loss,
        epoch=epoch,
        step=step,
    )


def _batch_at(plan: Plan, epoch: int, step: int) -> Batch:
    """The images of one step, made again: they follow from the seed, the epoch and their numbers alone."""
    order = plan.train_batches.batch_sampler
    assert isinstance(order, EpochOrder)
    order.epoch, order.start = epoch, step
    batch: Batch = next(iter(plan.train_batches))
    return batch
