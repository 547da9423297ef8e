"""Pure functions of (logits, labels). Shares are in [0, 1]."""

# axes: b images, k classes

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def top_k(logits: Tensor, labels: Tensor, k: int) -> float:  # b k, b → share
    """Share of images whose label is among the k largest logits; 1.0 when k reaches the number of classes."""
    return hits(logits, labels, k) / len(labels)


def hits(logits: Tensor, labels: Tensor, k: int) -> int:  # b k, b → count
    """Images whose label is among the k largest logits."""
    best = logits.topk(min(k, logits.shape[1])).indices
    return int((best == labels[:, None]).any(1).sum())


def hits_within(logits: Tensor, allowed: Tensor, k: int) -> int:  # b k, b k of bool → count
    """Images of which one of the k largest logits is of an allowed class."""
    best = logits.topk(min(k, logits.shape[1])).indices
    return int(allowed.gather(1, best).any(1).sum())


def sums(logits: Tensor, labels: Tensor) -> tuple[int, float, int, int]:  # b k, b
    """(images, summed cross-entropy, right at once, right among five): they add up over parts of a data set."""
    loss = float(F.cross_entropy(logits.double(), labels, reduction="sum"))
    return len(labels), loss, hits(logits, labels, 1), hits(logits, labels, 5)


def cross_entropy(logits: Tensor, labels: Tensor) -> float:  # b k, b → nats
    """Mean negative log-likelihood of the labels."""
    return float(F.cross_entropy(logits.double(), labels))


def confusion(logits: Tensor, labels: Tensor) -> Tensor:  # b k, b → k k, counts
    """Row: the true class; column: the predicted one."""
    classes = logits.shape[1]
    return torch.bincount(labels * classes + logits.argmax(1), minlength=classes**2).reshape(classes, classes)


def reliability(logits: Tensor, labels: Tensor, bins: int = 15) -> list[dict[str, float]]:  # b k, b → rows
    """Equal-width bins of the winner's probability: count, mean confidence, accuracy. Empty bins are left out."""
    confidence, predicted = logits.double().softmax(1).max(1)
    right = (predicted == labels).double()
    which = (confidence * bins).long().clamp(max=bins - 1)
    rows = []
    for i in which.unique().tolist():
        inside = which == i
        rows.append(
            {
                "low": i / bins,
                "high": (i + 1) / bins,
                "images": int(inside.sum()),
                "confidence": float(confidence[inside].mean()),
                "accuracy": float(right[inside].mean()),
            }
        )
    return rows


def calibration_error(rows: list[dict[str, float]]) -> float:
    """Expected calibration error: |confidence - accuracy| averaged over images (Naeini et al., 2015)."""
    total = sum(row["images"] for row in rows)
    return sum(row["images"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / max(total, 1)


def per_class(confused: Tensor, classes: tuple[str, ...]) -> list[dict[str, Any]]:  # k k → rows
    """Images, accuracy (recall) and precision of each class; None where there is nothing to divide by."""
    rows = []
    for i, name in enumerate(classes):
        right, actual, predicted = (int(n) for n in (confused[i, i], confused[i].sum(), confused[:, i].sum()))
        rows.append(
            {
                "class": name,
                "images": actual,
                "accuracy": right / actual if actual else None,
                "precision": right / predicted if predicted else None,
            }
        )
    return rows


def summary(logits: Tensor, labels: Tensor, classes: tuple[str, ...]) -> dict[str, Any]:  # b k, b
    """Everything `allmlp evaluate` reports."""
    confused, rows = confusion(logits, labels), reliability(logits, labels)
    return {
        "images": len(labels),
        "top1": top_k(logits, labels, 1),
        "top5": top_k(logits, labels, 5),
        "loss": cross_entropy(logits, labels),
        "calibration_error": calibration_error(rows),
        "per_class": per_class(confused, classes),
        "confusion": confused.tolist(),
        "calibration": rows,
    }
