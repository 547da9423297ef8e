"""Models on the same images, side by side: bootstrap intervals, McNemar's exact test, Holm's correction."""

# axes: m models, n images, r resamples, q bins of confidence

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Values = NDArray[np.float64]

MEASURES = ("top1", "top5", "loss", "calibration_error")
RESAMPLES = 2000
LEVEL = 0.95
BINS = 15
"""Of the calibration error, as in `metrics.reliability`."""
AT_ONCE = 2_000_000
"""Numbers that a batch of resamples may hold."""


@dataclass(frozen=True)
class Estimate:
    """A number measured on images, and its bootstrap interval."""

    value: float
    low: float
    high: float


def image_scores(logits: Tensor, labels: Tensor) -> Values:  # n k, n → n 3+q
    """What each image adds to the measures: right at once, right among five, loss in nats, and for each bin of confidence
    the excess of confidence over rightness. The mean over images of the first three is the measure itself; the
    calibration error is the sum of the others' absolute means."""
    wide = logits.double()
    confidence, predicted = wide.softmax(1).max(1)
    right = (predicted == labels).double()
    five = (wide.topk(min(5, wide.shape[1])).indices == labels[:, None]).any(1).double()
    loss = F.cross_entropy(wide, labels, reduction="none")
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    excess = F.one_hot(bins, BINS) * (confidence - right)[:, None]
    return torch.cat([torch.stack([right, five, loss], 1), excess], 1).numpy()


def measures(means: Values) -> Values:  # … 3+q → … 4
    """Means of `image_scores` → the four `MEASURES`."""
    return np.concatenate([means[..., :3], np.abs(means[..., 3:]).sum(-1, keepdims=True)], -1)


def bootstrap(scores: Values, *, resamples: int = RESAMPLES, seed: int = 0) -> Values:  # m n s → r m s
    """Means over images drawn with replacement. All models get the same draws, so that their differences are paired."""
    models, images, columns = scores.shape
    generator = np.random.default_rng(seed)
    together = scores.transpose(1, 0, 2).reshape(images, models * columns)
    means = np.empty((resamples, models * columns))
    step = max(AT_ONCE // max(images, 1), 1)
    for start in range(0, resamples, step):
        draws = generator.integers(0, images, (min(step, resamples - start), images))
        counts = np.stack([np.bincount(draw, minlength=images) for draw in draws])
        means[start : start + step] = counts @ together / images
    return means.reshape(resamples, models, columns)


def estimates(
    scores: Values, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[list[list[Estimate]], list[list[Estimate]]]:  # m n s → m × 4, m × 4
    """(each model's four measures, their differences to the first model's), with 95 % intervals.

    Means have the percentile interval. Resampling inflates the calibration error, a sum of absolute values, as sampling
    did, so its interval is the percentile interval reflected at the estimate (the basic bootstrap; Davison and Hinkley,
    1997, section 5.2), and never below zero.
    """
    value = measures(scores.mean(1))
    drawn = measures(bootstrap(scores, resamples=resamples, seed=seed))
    own = _intervals(value, drawn)
    own[:, 3] = own[:, 3].clip(0)
    apart = _intervals(value - value[0], drawn - drawn[:, :1])
    return _typed(own), _typed(apart)


def _intervals(value: Values, drawn: Values) -> Values:  # m 4, r m 4 → m 4 3
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    low[:, 3], high[:, 3] = 2 * value[:, 3] - high[:, 3], 2 * value[:, 3] - low[:, 3]
    return np.stack([value, low, high], -1)


def _typed(intervals: Values) -> list[list[Estimate]]:
    return [[Estimate(*numbers) for numbers in row] for row in intervals.tolist()]


@dataclass(frozen=True)
class McNemar:
    """Images that only one of two models gets right, and how likely so uneven a split is where both are equally good."""

    only_first: int
    only_second: int
    p: float
    """Two-sided, exact."""


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> McNemar:  # n, n
    """McNemar's exact test of two models' right answers on the same images."""
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(b, c, exact_p(b, c))


def exact_p(b: int, c: int) -> float:
    """min(1, 2 P(X ≤ min(b, c))), X binomial with b + c tries of ½ (McNemar, 1947, with the binomial in place of χ²).

    In whole numbers to the last division, so that nothing is lost however many images there are.
    """
    tries, term, total = b + c, 1, 1
    for i in range(min(b, c)):
        term = term * (tries - i) // (i + 1)
        total += term
    return min(1.0, 2 * total / 2**tries)


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: with so many tests at once, each may be held against its level as if it were the only one
    (Holm, 1979)."""
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted
