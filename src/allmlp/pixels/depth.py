"""Deep values, of more than 8 bits, as 8 bits: one rule for every type."""

# axes: h w pixels, c channels

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]  # h w, or h w c, of any type of number
Range = tuple[float, float]

FAR = 3.4e38
"""Floats beyond it are written for what was not measured: ±FLT_MAX, however many digits of it."""
BLOCK = 1 << 20
"""Values that are computed at a time."""


def eight_bits(values: Values, value_range: Range | None = None, nodata: float | None = None) -> NDArray[np.uint8]:
    """round(255 · (value − low) / (high − low)), clipped; the same shape.

    value_range: low and high; None: `own_range`. nodata: the value that stands for nothing. It, NaN and ±FLT_MAX become low;
    infinite values become low or high.
    """
    low, high = value_range or own_range(values, nodata)
    if values.dtype == np.uint16:  # a table is faster
        return _scaled(np.arange(1 << 16, dtype=np.uint16), low, high, nodata)[values]
    flat = np.ascontiguousarray(values).reshape(-1)
    made = np.empty(flat.shape, dtype=np.uint8)
    for start in range(0, len(flat), BLOCK):
        made[start : start + BLOCK] = _scaled(flat[start : start + BLOCK], low, high, nodata)
    return made.reshape(values.shape)


def _scaled(values: Values, low: float, high: float, nodata: float | None) -> NDArray[np.uint8]:
    exact = values.astype(np.float64)
    exact[_nothing(values, nodata)] = low
    with np.errstate(over="ignore"):
        return np.rint((exact.clip(low, high) - low) * (255 / max(high - low, 1e-300))).astype(np.uint8)


def own_range(values: Values, nodata: float | None = None) -> Range:
    """What an image's values become 0 and 255 by, where nothing else is known.

    Unsigned 16 bits: the type's range. All others: the image's own, from 0, or its smallest finite value where that is
    negative, to its largest.
    """
    if values.dtype == np.uint16:
        return 0.0, 65535.0
    known = measured(values, nodata)
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    low = min(low, 0.0)
    return (low, high) if high > low else (low, low + 1)


def measured(values: Values, nodata: float | None = None) -> Values:  # → n
    """The finite values, without those that stand for nothing."""
    return values[~_nothing(values, nodata) & np.isfinite(values)]


def _nothing(values: Values, nodata: float | None) -> NDArray[np.bool_]:
    """Which values stand for what was not measured."""
    found = np.isnan(values) | (np.isfinite(values) & (np.abs(values.astype(np.float64)) > FAR))
    if nodata is not None:  # as the type of the values writes it
        found |= values == (np.float32(nodata) if values.dtype == np.float32 else nodata)
    return np.asarray(found)
