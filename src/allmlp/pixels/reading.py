"""What a model wants of an image file, beside its size."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """How the contents of an image file become 8-bit channels."""

    in_chans: int
    """1 (grey) or 3 (RGB)."""
    value_range: tuple[float, float] | None = None
    """The values of deep images that become 0 and 255. None: by each image's type, or its own values."""
    page: int | None = None
    """Which page of a TIFF file, from 1. None: the only one."""


def as_reading(wanted: "Reading | int") -> Reading:
    """A number of channels alone stands for all else as usual."""
    return Reading(wanted) if isinstance(wanted, int) else wanted
