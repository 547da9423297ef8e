"""95 % intervals of shares, means, and differences on the same images; `benchmarks/intervals.py` measures their coverage."""

# axes: n images

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

Z95 = 1.959963984540054
"""Quantile of the normal distribution that leaves 2.5 % above it."""
HALVINGS = 60


def wilson_interval(share: float, images: int) -> tuple[float, float]:
    """95 % interval of a share in [0, 1] that was measured on `images` images (Wilson, 1927); (0, 1) for none."""
    if not images:
        return 0.0, 1.0
    square = Z95**2 / images
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0)


def paired_interval(only_first: int, only_second: int, images: int) -> tuple[float, float]:
    """95 % interval of the second share minus the first, both measured on the same images; (-1, 1) for none.

    Args:
        only_first, only_second: images that count for one alone. Those that count for both or none say nothing else.

    It holds each difference that a score test does not refuse (Tango, Statistics in Medicine 17, 1998), so it agrees with
    McNemar's test, and has a width where both shares are alike on every image.
    """
    if not images:
        return -1.0, 1.0
    n, gap = images, only_second - only_first

    def score(difference: float) -> float:
        b = -only_first - only_second + (2 * n - gap) * difference
        c = -only_first * difference * (1 - difference)
        alone = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)  # most likely share of only_first
        variance = n * (2 * alone + difference * (1 - difference))
        return (gap - n * difference) / math.sqrt(max(variance, 1e-300))

    low = _falling(score, Z95, -1.0, gap / n)
    high = _falling(score, -Z95, gap / n, 1.0)
    return low, high


def mean_interval(values: Values) -> tuple[float, float]:  # n → low, high
    """95 % interval of the mean behind a sample that is about as long to the left as to the right (Student, 1908).

    Returns the mean itself for values that are all alike, and for one value, which says nothing of its spread.
    """
    mean, error = _mean_and_error(values)
    half = student(len(values) - 1) * error if error else 0.0
    return mean - half, mean + half


def skewed_mean_interval(values: Values) -> tuple[float, float]:  # n → low, high
    """95 % interval of the mean behind a sample with a long tail, such as losses (Hall, JRSS B 54, 1992: cubic transformation).

    Returns the same as `mean_interval` for values without skewness.
    """
    mean, error = _mean_and_error(values)
    if not error:
        return mean, mean
    n = len(values)
    skewness = float(((values - mean) ** 3).mean()) / float(values.std()) ** 3
    if abs(skewness) < 1e-6:
        return mean_interval(values)
    slope = skewness / math.sqrt(n)

    def turned(t: float) -> float:
        """The inverse of t → t + slope t² / 3 + slope² t³ / 27 + slope / 6."""
        return 3 / slope * (math.cbrt(1 + slope * (t - slope / 6)) - 1)

    t = student(n - 1)
    return min(mean - error * turned(t), mean), max(mean - error * turned(-t), mean)


def student(freedom: int) -> float:
    """Quantile of Student's t distribution that leaves 2.5 % above it (Cornish and Fisher's series; within 1 %)."""
    if freedom <= 2:
        return (math.inf, 12.706204736174698, 4.302652729749462)[max(freedom, 0)]
    z, found = Z95, Z95
    for power, terms in enumerate(_SERIES, 1):
        found += sum(c * z ** (2 * i + 1) for i, c in enumerate(terms)) / freedom**power
    return found


_SERIES = (
    (1 / 4, 1 / 4),
    (3 / 96, 16 / 96, 5 / 96),
    (-15 / 384, 17 / 384, 19 / 384, 3 / 384),
    (-945 / 92160, -1920 / 92160, 1482 / 92160, 776 / 92160, 79 / 92160),
)


def _mean_and_error(values: Values) -> tuple[float, float]:
    """(mean, its standard error; 0 for one value)."""
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean()), error if np.ptp(values) > 0 else 0.0


def _falling(function: Callable[[float], float], wanted: float, low: float, high: float) -> float:
    """Where a function that falls from low to high has the wanted value; the nearer end where it has not."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > wanted else (low, middle)
    return (low + high) / 2
