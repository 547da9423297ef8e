"""How much of a model's token mixing can be set to zero, and what that costs."""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from allmlp import metrics
from allmlp.data.images import Images
from allmlp.data.loader import plain_batches
from allmlp.data.progress import watched
from allmlp.data.sources import open_labelled
from allmlp.engine.device import best_device, prepared
from allmlp.engine.infer import Outputs, finite_rows, gather
from allmlp.errors import DataError, ModelError
from allmlp.models.base import ImageModel
from allmlp.operators import readable, token_mixing
from allmlp.surgery.magnitude import largest

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
        raise DataError("shares are in [0, 1], and at least one image is needed", hint="give --prune-images 1 or more")
    if model.classes is None:
        raise ModelError(
            "the model does not know the names of its classes", hint="set model.classes, in the order of its outputs"
        )
    names = [name for mixing in token_mixing(model) for name in mixing.weights]
    images, _ = open_labelled(data, model.classes, quiet=quiet)
    images = images.spread(limit)
    weights = {name: readable(model).get_parameter(name) for name in names}
    levels = [{name: largest(weight.detach(), share) for name, weight in weights.items()} for share in kept]
    found = at_levels(readable(model), levels, images, title=f"{len(images)} images of {data}", batch=batch, quiet=quiet)
    return [Pruned(kept=share, **row) for share, row in zip(kept, found, strict=True)]


def at_levels(
    model: ImageModel,
    levels: Sequence[Mapping[str, Tensor]],
    images: Images,
    *,
    title: str,
    batch: int = 64,
    quiet: bool = False,
) -> list[dict[str, Any]]:
    """What a model is worth with other values for some of its parameters, by name; each image is decoded once for all levels.

    title: what the images are, in words. Returns top1 (share), loss (nats) and images of each level; the model is left as it
    was. Raises DataError where no image could be read.
    """
    device = best_device()
    cut = prepared(copy.deepcopy(model).eval(), device)
    batches = plain_batches(images, cut.preprocessing, reading=cut.reading, batch=batch, workers=0)
    outputs: list[list[Outputs]] = [[] for _ in levels]
    for one in watched(batches, total=len(batches), what="pruning", quiet=quiet):
        for level, answers in zip(levels, outputs, strict=True):
            with torch.no_grad():
                for name, value in level.items():
                    cut.get_parameter(name).copy_(value)
            answers.append(gather(cut, [one], device=device))
    return [_result(answers, title) for answers in outputs]


def _result(answers: list[Outputs], what: str) -> dict[str, Any]:
    """Over all batches. Raises DataError where no image could be read."""
    logits, labels = torch.cat([a.logits for a in answers]), torch.cat([a.labels for a in answers])
    if not len(labels):
        raise DataError(f"none of the {what} could be read", hint="check the files")
    if not finite_rows(logits).all():
        raise ModelError(f"logits are not finite on the {what}", hint="look at the images, or explain other weights")
    return {"top1": metrics.top_k(logits, labels, 1), "loss": metrics.cross_entropy(logits, labels), "images": len(labels)}


def least_kept(curve: Sequence[Pruned], points: float = 0.01) -> float:
    """The smallest share kept from which on, upwards, no more than `points` of accuracy are lost against all weights."""
    ordered = sorted(curve, key=lambda row: -row.kept)
    least = ordered[0].kept
    for row in ordered:
        if ordered[0].top1 - row.top1 > points:
            break
        least = row.kept
    return least
