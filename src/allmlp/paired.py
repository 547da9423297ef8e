"""Models on the same images, side by side: estimates with intervals, McNemar's test, Holm's correction."""

# axes: m models, n images, q bins of confidence

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from allmlp.calibration import DRAWS, Calibrated, Values, calibrated
from allmlp.intervals import mean_interval, paired_interval, skewed_mean_interval, wilson_interval

MEASURES = ("top1", "top5", "loss", "calibration_error")
BINS = 15
"""Of the calibration error, as in `metrics.reliability`."""
FEW = 3
"""Wrong images from which on the losses alone give an interval."""


@dataclass(frozen=True)
class Estimate:
    """A number measured on images, and its 95 % interval, in which it always lies; None where there is none."""

    value: float
    low: float | None
    high: float | None

    @property
    def bounds(self) -> tuple[float, float]:
        """Of a number that has an interval."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high


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


def estimates(
    scores: Values, *, draws: int = DRAWS, seed: int = 0
) -> tuple[list[list[Estimate]], list[list[Estimate]]]:  # m n 3+q → m × 4, m × 4
    """(each model's four measures, their differences to the first model's), with 95 % intervals.

    Shares have the intervals of `wilson_interval` and `paired_interval`, losses those of `skewed_mean_interval` and
    `mean_interval`. The calibration error is the one behind the images (see `calibrated`); its difference has no interval,
    since none is known that holds as often as it says (docs/decisions/0022). Models whose scores are the same on every
    image do not differ, surely.
    """
    errors = [calibrated(one[:, 3:], draws=draws, seed=seed) for one in scores]
    own = [
        [*(_share(one[:, i]) for i in (0, 1)), _loss(one), Estimate(e.value, e.low, e.high)]
        for one, e in zip(scores, errors, strict=True)
    ]
    apart = [_apart(scores[0], one, errors[0], error) for one, error in zip(scores, errors, strict=True)]
    return own, apart


def _apart(first: Values, second: Values, ours: Calibrated, theirs: Calibrated) -> list[Estimate]:  # n 3+q, n 3+q
    if np.array_equal(first, second):
        return [Estimate(0.0, 0.0, 0.0)] * len(MEASURES)
    shares = [_gap(first[:, i], second[:, i]) for i in (0, 1)]
    return [*shares, _estimate(second[:, 2] - first[:, 2], mean_interval), Estimate(theirs.value - ours.value, None, None)]


def _estimate(values: Values, interval: Callable[[Values], tuple[float, float]]) -> Estimate:
    return Estimate(float(values.mean()), *interval(values))


def _loss(scores: Values) -> Estimate:  # n 3+q
    """The mean loss. Where hardly an image is wrong, the sample does not show what wrong ones cost: then the upper end takes
    as many to be wrong as may be, each at the loss that it had, or would have had by the model's own confidence."""
    right, losses = scores[:, 0], scores[:, 2]
    low, high = skewed_mean_interval(losses)
    if (wrong := int((1 - right).sum())) < FEW:
        confidence = scores[:, 3:].sum(1) + right
        dear = max(float(-np.log((1 - confidence).clip(1e-12)).mean()), float(losses[right == 0].mean()) if wrong else 0.0)
        high = max(high, float((losses * right).mean()) + wilson_interval(wrong / len(right), len(right))[1] * dear)
    return Estimate(float(losses.mean()), max(low, 0.0), high)


def _share(hits: Values) -> Estimate:
    value = float(hits.mean())
    return Estimate(value, *wilson_interval(value, len(hits)))


def _gap(first: Values, second: Values) -> Estimate:
    gap = second - first
    return Estimate(float(gap.mean()), *paired_interval(int((gap < 0).sum()), int((gap > 0).sum()), len(gap)))


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
