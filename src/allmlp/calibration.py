"""The calibration error of a model's whole world from a sample of images, with an interval.

The error that `metrics.calibration_error` measures on a sample is a sum of absolute values, so chance alone inflates it: a
perfectly calibrated model shows one, too. Here the question is turned around: which errors, had the model had them, would
show what was seen? Each candidate is tried on simulated samples (hybrid resampling: Chuang
and Lai, Statistica Sinica 10, 2000).
"""

# axes: n images, q bins of confidence, r draws

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allmlp.intervals import wilson_interval

Values = NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
HALVINGS = 20
FEW = 3
"""Wrong images from which on the bins alone give an interval."""
LESS = 0.55
"""How the error falls towards its lower end: 0 takes from all bins alike, 1 leaves large ones nearly whole."""
EVEN = 0.4
"""Share of an error at its upper end that is spread over all bins by what chance adds to each."""


@dataclass(frozen=True)
class Calibrated:
    """A calibration error in [0, 1] without what chance adds, and its 95 % interval, in which it always lies."""

    value: float
    low: float
    high: float


def calibrated(excess: Values, *, draws: int = DRAWS, seed: int = 0) -> Calibrated:  # n q
    """The calibration error behind a sample.

    Args:
        excess: for each image, in the bin of its confidence, confidence minus 1 where it is right, else confidence.
        draws, seed: of the simulated samples. The same seed gives the same interval.

    Returns:
        value: the error under which half of all samples show less than this one. low, high: under which 97.5 % and 2.5 % do.
        How the error is shared among the bins is not known: low takes it to be in few of them, high in more, value half way.
    """
    covariance, used = _covariance(excess), counts(excess)[0] > 0
    seen, moved = excess.mean(0), _moved(covariance, draws, seed) * used
    size, scale = np.abs(seen), np.sqrt(covariance.diagonal()) * used
    sign, shown = np.where(seen < 0, -1.0, 1.0), float(size.sum())
    chance = min(1.0, float(np.abs(moved).sum(1).mean()) / shown) if shown else 1.0
    less = LESS * chance

    def likely(error: Values) -> float:
        """How many samples of a model with this excess in its bins show no more than was seen."""
        return float((np.abs(sign * error + moved).sum(1) <= shown).mean())

    def fewer(step: float) -> Values:
        """step < 0: a smaller error, small bins lose first. step > 0: a larger one, in the bins that are least sure."""
        if step >= 0:
            return np.where(used, size + step * scale, size)
        loss = (-step) ** (1 + less) * scale ** (1 + less) / np.maximum(size, 1e-300) ** less
        return np.where(used, np.maximum(size - loss, 0), size)

    even = (1 - EVEN * chance) * size + EVEN * chance * scale * (shown / scale.sum())
    least = -float((size[used] / scale[used]).max()) - 1e-9
    low = _solved(fewer, likely, (1 + LEVEL) / 2, least)
    middle = (_solved(fewer, likely, 0.5, least) + _solved(lambda step: even * step, likely, 0.5, 0.0)) / 2
    high = _solved(lambda step: even * step, likely, (1 - LEVEL) / 2, 0.0)
    value = min(float(middle.sum()), 1.0)
    most = max(float(high.sum()), _gap(excess), value)
    return Calibrated(value, min(float(low.sum()), value), min(most, 1.0))


def _covariance(excess: Values) -> Values:  # n q → q q
    """Of the means in such a sample; enlarged, since few images in a bin agree too well with each other. A bin in which all
    images are right, or all wrong, does not show that all others are: half a right one and half a wrong one are added."""
    n, (images, right) = len(excess), counts(excess)
    found: Values = np.cov(excess.T, bias=True) / (n - int((images > 0).sum()) / 4)
    smooth = np.where((right == 0) | (right == images), (right + 0.5) / (images + 1), 0.0)
    more = (smooth * (1 - smooth) * images / n**2 - found.diagonal()).clip(0)
    return found + np.diag(more)


def _gap(excess: Values) -> float:  # n q
    """Where hardly an image is wrong: how far apart mean confidence and accuracy may be, which the error may be, too."""
    right = float(counts(excess)[1].sum()) / len(excess)
    if len(excess) * (1 - right) >= FEW:
        return 0.0
    confidence = float(excess.sum()) / len(excess) + right
    low, high = wilson_interval(right, len(excess))
    return max(confidence - low, high - confidence)


def counts(excess: Values) -> tuple[Values, Values]:  # n q → q, q
    """(images, right ones) in each bin. No excess at all is of an image that is right with a confidence of 1, in the last."""
    images, right = (excess != 0).sum(0).astype(float), (excess < 0).sum(0).astype(float)
    surely = len(excess) - images.sum()
    images[-1] += surely
    right[-1] += surely
    return images, right


def _moved(covariance: Values, draws: int, seed: int) -> Values:  # q q → r q
    """Normal draws with a covariance that may lack rank."""
    rooted = covariance + (1e-12 * covariance.trace() + 1e-300) * np.eye(len(covariance))
    found: Values = _standard(draws, len(covariance), seed) @ np.linalg.cholesky(rooted).T
    return found


@lru_cache(maxsize=4)
def _standard(draws: int, columns: int, seed: int) -> Values:
    return np.random.default_rng(seed).standard_normal((draws, columns))


def _solved(path: Callable[[float], Values], likely: Callable[[Values], float], wanted: float, least: float) -> Values:
    """The error on a path, from the smallest at step `least` to larger ones, at which `likely` falls to what is wanted."""
    if likely(path(least)) <= wanted:
        return path(least)
    low, width = least, 1.0
    while likely(path(low + width)) > wanted and width < 1e9:
        low, width = low + width, 2 * width
    high = low + width
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if likely(path(middle)) > wanted else (low, middle)
    return path((low + high) / 2)
