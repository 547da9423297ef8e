"""How well features tell classes while they are being learnt without labels."""

# axes: b batch, c features

from contextlib import suppress

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from allmlp.data.loader import Batch
from allmlp.engine.infer import Outputs, gather
from allmlp.errors import TrainingError
from allmlp.models.base import ImageModel
from allmlp.neighbours import knn_top1
from allmlp.training.dino.teacher import headless
from allmlp.training.distributed import whole
from allmlp.training.plan import Look, Plan, Stopped

NEIGHBOURS = 20
"""With how many DINO's article reports."""


def knn(plan: Plan, model: ImageModel, voters: DataLoader[Batch], look: Look) -> tuple[float, int, str | None]:
    """(share of the validation images whose class their neighbours name, files that could not be read, which features are not
    finite: then the share says nothing).

    Called by every process; each makes the features of its share. Raises Stopped in all of them when a signal arrived.
    """
    with whole(model, plan.team), headless(model) as bare:
        taught, asked = (_features(plan, bare, batches, look) for batches in (voters, plan.val_batches))
    mine = [0 if asked is None else len(asked.unreadable), float(taught is None or asked is None)]
    unreadable, stopped = plan.team.sum(mine)
    if stopped or taught is None or asked is None:
        raise Stopped
    (features, labels), (queries, due) = (_together(plan, part) for part in (taught, asked))
    if not len(labels) or not len(due):
        raise TrainingError("no validation image could be read", hint="see unreadable.jsonl in the run's folder")
    spoiled = sum(int((~part.isfinite().all(1)).sum()) for part in (features, queries))
    if spoiled:
        return 0.0, int(unreadable), f"not all features are finite for {spoiled:,} of {len(features) + len(queries):,} images"
    few = min(NEIGHBOURS, len(labels))
    top1 = plan.team.by_first(lambda: knn_top1(features, labels, queries, due, neighbours=(few,))[few])
    return top1, int(unreadable), None


def _features(plan: Plan, model: ImageModel, batches: DataLoader[Batch], look: Look) -> Outputs | None:
    """Of this process's share; None when a signal arrived."""

    def after(batch: Batch) -> None:
        look.note(batch)
        if look.stop():
            raise Stopped

    with suppress(Stopped):  # the others have yet to hear of it
        return gather(model, batches, device=plan.device, precision=plan.precision, after=after)
    return None


def _together(plan: Plan, part: Outputs) -> tuple[Tensor, Tensor]:  # → b c, b of all processes
    shares = plan.team.gathered((part.logits, part.labels))
    return torch.cat([features for features, _ in shares]), torch.cat([labels for _, labels in shares])
