"""Images that are there more than once, to the byte, counted."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

LISTED = 20
"""Groups whose names are listed; all are counted."""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One image, and what is the same of those that are the same."""

    part: str
    """"train", "val" or "test"."""
    label: int
    name: str
    digest: bytes
    """Of the file, or of the pixels where there is no file."""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Exact ones: the same bytes."""

    held_out: int
    """Validation and test images that are training images, too: the model may know them by heart."""
    repeated: int
    """Images beyond the first of each group within one split."""
    contradictory: int
    """Groups whose images are of different classes."""
    tested: int = 0
    """Test images that are validation images, and no training images."""
    examples: list[list[str]]
    """The names of some groups: those across splits first, then contradictions."""


def duplicates(copies: Iterable[Copy]) -> Duplicates:
    """Groups of images with the same bytes, counted."""
    groups: dict[bytes, list[Copy]] = defaultdict(list)
    for one in copies:
        groups[one.digest].append(one)
    several = [group for group in groups.values() if len(group) > 1]
    across = [group for group in several if len({one.part for one in group}) > 1]
    torn = [group for group in several if len({one.label for one in group}) > 1]
    shown = {id(group): group for group in (*across, *torn, *several)}
    return Duplicates(
        held_out=sum(
            sum(one.part != "train" for one in group) for group in across if any(one.part == "train" for one in group)
        ),
        repeated=sum(count - 1 for group in several for count in Counter(one.part for one in group).values()),
        contradictory=len(torn),
        tested=sum(
            sum(one.part == "test" for one in group)
            for group in across
            if {"val", "test"} <= {one.part for one in group} and all(one.part != "train" for one in group)
        ),
        examples=[[one.name for one in group[:4]] for group in list(shown.values())[:LISTED]],
    )
