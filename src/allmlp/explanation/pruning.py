"""How much of a model's token mixing can be set to zero, and what that costs."""

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from allmlp import metrics
from allmlp.data.loader import plain_batches
from allmlp.data.progress import watched
from allmlp.data.sources import open_labelled
from allmlp.engine.device import best_device, prepared
from allmlp.engine.infer import gather
from allmlp.errors import DataError, ModelError
from allmlp.explanation.operators import readable, token_mixing
from allmlp.models.base import ImageModel

KEPT = (1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.0)
"""Shares of the token-mixing weights that are kept, unless others are asked for."""
IMAGES = 2000
"""Labelled images that are looked at, unless more are asked for."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What a model is worth with a share of its token-mixing weights."""

    kept: float
    """In [0, 1]."""
    top1: float
    loss: float
    """Cross-entropy in nats."""
    images: int


def prune_curve(
    model: ImageModel,
    data: str | os.PathLike[str],
    *,
    kept: Sequence[float] = KEPT,
    limit: int = IMAGES,
    batch: int = 64,
    quiet: bool = False,
) -> list[Pruned]:
    """Accuracy against the share of token-mixing weights kept; nothing is trained again. The model is left as it was.

    data: as for `allmlp.evaluate`, matched to the model's classes by name; of more than `limit` images, as many at even
    distances. kept: shares in [0, 1]; of every matrix by itself the smallest weights become zero.
    Raises ModelError for a model without token-mixing matrices or class names, DataError for data that does not fit.
    """
    if not all(0 <= share <= 1 for share in kept) or limit < 1:
        raise DataError("shares are in [0, 1], and at least one image is needed", mend="give --prune-images 1 or more")
    if model.classes is None:
        raise ModelError(
            "the model does not know the names of its classes", mend="set model.classes, in the order of its outputs"
        )
    names = [name for mixing in token_mixing(model) for name in mixing.weights]
    images, _ = open_labelled(data, model.classes, quiet=quiet)
    if len(images) > limit:
        images = images.subset(np.linspace(0, len(images) - 1, limit).round().astype(np.int64))
    device = best_device()
    cut = prepared(copy.deepcopy(readable(model)).eval(), device)
    weights = {name: cut.get_parameter(name) for name in names}
    whole = {name: weight.detach().clone() for name, weight in weights.items()}
    found = []
    for share in watched(kept, total=len(kept), what="pruning", quiet=quiet):
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(largest(whole[name], share))
        batches = plain_batches(images, cut.preprocessing, in_chans=cut.in_chans, batch=batch, workers=0)
        out = gather(cut, batches, device=device)
        if not len(out.labels):
            raise DataError(f"none of the {len(images)} images of {data} could be read", mend="check the files")
        top1, loss = metrics.top_k(out.logits, out.labels, 1), metrics.cross_entropy(out.logits, out.labels)
        found.append(Pruned(kept=share, top1=top1, loss=loss, images=len(out.labels)))
    return found


def largest(weight: Tensor, share: float) -> Tensor:
    """The same with zeros for all but the largest entries, of which `share` are kept, rounded to a whole number."""
    count = round(share * weight.numel())
    kept = torch.zeros_like(weight).flatten()
    places = weight.abs().flatten().topk(count).indices
    kept[places] = weight.flatten()[places]
    return kept.reshape(weight.shape)


def least_kept(curve: Sequence[Pruned], points: float = 0.01) -> float:
    """The smallest share kept from which on, upwards, no more than `points` of accuracy are lost against all weights."""
    ordered = sorted(curve, key=lambda row: -row.kept)
    least = ordered[0].kept
    for row in ordered:
        if ordered[0].top1 - row.top1 > points:
            break
        least = row.kept
    return least
