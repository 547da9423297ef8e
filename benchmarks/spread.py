"""What the benchmarks say of a handful of measurements."""

import statistics
from collections.abc import Sequence


def median_and_spread(seconds: Sequence[float]) -> tuple[float, float]:
    """(median, half the distance between the quartiles)."""
    if len(seconds) < 2:
        return seconds[0], 0.0
    low, middle, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return middle, (high - low) / 2
