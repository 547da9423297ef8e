"""The task of saying the next piece of a translation."""

# axes: b sentences, s pieces of the source, n pieces of the target, v pieces of the vocabulary

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from allmlp.data.loader import Batch
from allmlp.engine.cost import parameters
from allmlp.engine.device import autocast
from allmlp.training.checkpoint import Position
from allmlp.training.distributed import whole
from allmlp.training.plan import Choice, Judged, Look, Losses, Plan, Product, Stopped
from allmlp.training.supervised import judged_of
from allmlp.translation.batches import TextBatch
from allmlp.translation.model import BEGIN, END, PAD, Translator


class Translating:
    """Cross-entropy of each piece that is to be said, given those before it, with label smoothing."""

    command, counts = "translate train", "pieces"
    parts: Mapping[str, nn.Module] = {}

    def given(self, plan: Plan, batch: Batch, *, mixing: bool) -> tuple[Tensor, ...]:
        """b s, b n, b n: what the encoder and the decoder see, and what is to be said."""
        text = cast(TextBatch, batch)
        rows = (text.source, text.given, text.due)
        if not len(text.labels):  # a process without sentences
            rows = (torch.tensor([[END]]), torch.tensor([[BEGIN]]), torch.tensor([[END]]))
        return tuple(tensor.to(plan.device, non_blocking=True) for tensor in rows)

    def losses(self, plan: Plan, given: tuple[Tensor, ...], number: int) -> Losses:
        """Means over the pieces; chance is the loss of all scores zero."""
        source, before, due = given
        with autocast(plan.device, plan.precision):
            scores = plan.forward(source, before)
        loss = F.cross_entropy(
            scores.float().flatten(0, 1), due.flatten(), ignore_index=PAD, label_smoothing=plan.recipe.train.smoothing
        )
        with torch.no_grad():
            chance = torch.tensor(float(scores.shape[-1]), device=plan.device).log()
            hits = ((scores.argmax(-1) == due) & (due != PAD)).sum()
        return Losses(loss, chance, hits)

    def about_to_move(self, plan: Plan, number: int) -> None:
        """Nothing: the gradients are what they should be."""

    def moved(self, plan: Plan, number: int, images: int) -> None:
        """Nothing: all that was learnt is in the weights."""

    def judge(self, plan: Plan, epoch: int, look: Look) -> Judged:
        """Loss (without smoothing) and accuracy of the next piece of the validation sentences; the lower loss is better."""
        found = {"raw": _pieces(plan, plan.model, look)}
        record: dict[str, Any] = {"val_loss": found["raw"][0], "val_top1": found["raw"][1]}
        if plan.ema is not None:
            found["ema"] = _pieces(plan, plan.ema.module, look)
            loss, top1 = found["ema"]
            record |= {"ema_loss": loss, "ema_top1": top1} if math.isfinite(loss) else {"ema_loss": None, "ema_top1": None}
        choices = {name: Choice(name, None, loss) for name, (loss, _) in found.items()}
        broken = {name: None if math.isfinite(loss) else f"the loss is {loss:.4g}" for name, (loss, _) in found.items()}
        return judged_of(record, choices, broken, 0)

    def product(self, plan: Plan) -> Product:
        """All of the model."""
        model = cast(Translator, plan.model)
        return Product(frozenset(model.state_dict()), {**model.card(), "parameters": parameters(model)})

    def ending(self, at: Position) -> str:
        return f"lowest validation loss {at.best_loss:.3f} nats a piece at epoch {at.best_epoch} ({at.best_weights} weights)"


def _pieces(plan: Plan, model: nn.Module, look: Look) -> tuple[float, float]:
    """(nats a piece, share of the pieces that are the most probable), over all processes. Raises Stopped in all of them."""
    sums, stopped = [0.0, 0.0, 0.0], False
    with whole(model, plan.team) as ready, torch.inference_mode():
        ready.eval()
        for batch in cast(DataLoader[TextBatch], plan.val_batches):
            due = batch.due.to(plan.device)
            with autocast(plan.device, plan.precision):
                scores = ready(batch.source.to(plan.device), batch.given.to(plan.device)).float()
            there = due != PAD
            sums[0] += float(F.cross_entropy(scores.flatten(0, 1), due.flatten(), ignore_index=PAD, reduction="sum"))
            sums[1] += float(((scores.argmax(-1) == due) & there).sum())
            sums[2] += float(there.sum())
            stopped = stopped or look.stop()
            if stopped:
                break
    loss, hits, pieces, caught = plan.team.sum([*sums, stopped])
    if caught:
        raise Stopped
    return loss / max(pieces, 1), hits / max(pieces, 1)
