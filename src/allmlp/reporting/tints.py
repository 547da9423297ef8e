"""Numbers as tints: one diverging scale that shows sign, on light and dark pages alike."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

POSITIVE, NEGATIVE = (75, 127, 238), (221, 116, 32)
"""Blue and orange that can be told apart by most colour-blind people, half way between black and white, so that both stand
out from a light page and from a dark one. Zero is the page itself."""


def signed(values: Values, limit: float) -> NDArray[np.uint8]:  # h w → h w 4
    """Blue above zero and orange below it, the stronger the nearer to ±limit; what is not a number is transparent."""
    strength = np.nan_to_num(np.clip(np.abs(values) / limit, 0, 1))
    colours = np.where((values > 0)[..., None], POSITIVE, NEGATIVE)
    return np.concatenate([colours, (255 * strength).round()[..., None]], -1).astype(np.uint8)


def largest(*arrays: Values) -> float:
    """A limit that no value passes; 1 for zeros alone."""
    return max(float(np.nanmax(np.abs(values))) for values in arrays) or 1.0
