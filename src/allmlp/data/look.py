"""What some training images are: whether all are grey, and which values deep ones have."""

import numpy as np

from allmlp.data.damage import hint_for, in_words
from allmlp.data.images import Images, Look
from allmlp.errors import DataError
from allmlp.pixels.depth import Range, Values
from allmlp.pixels.read import UnreadableImage, look_into

MOST = 200
"""Images that are looked at, at even distances."""
PIXELS = 16_384
"""Values of each that are counted, at even distances."""
TAILS = (0.1, 99.9)
"""Percentiles of the values that become 0 and 255."""


def look_at(images: Images, page: int | None) -> Look | None:
    """Look at some images of a data set.

    Args:
        images: those to train on.
        page: of TIFF files, from 1.

    Returns:
        What was found; None for images that lie in memory, or of which none could be read.

    Raises:
        DataError: where all of them are refused for one reason that the user can do something about.
    """
    failures, grey, found, read = [], True, [], 0
    some = images.spread(MOST)
    for index in range(len(some)):
        try:
            content = some.content(index)
            if content is None:
                return None
            seen = look_into(content, some.name(index), page, PIXELS)
        except UnreadableImage as error:
            failures.append((error.path, error.reason))
            continue
        read += 1
        grey = grey and seen.grey
        if seen.values is not None:
            found.append(seen.values)
    if failures and not read and (hint := hint_for(failures)):
        raise DataError(f"none of {len(failures)} training images can be read: {in_words(failures)}", hint=hint)
    if not read:
        return None
    return Look(images=read, grey=grey, deep=len(found), value_range=_range(np.concatenate(found)) if found else None)


def _range(values: Values) -> Range | None:  # n
    """The percentiles; where they are one value, the extremes. None where all values are one, or there is none."""
    if not values.size:
        return None
    for low, high in (np.percentile(values, TAILS), (values.min(), values.max())):
        if high > low:
            return float(low), float(high)
    return None
