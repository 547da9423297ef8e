"""Images that cannot be read: counted by reason, and refused when they are too many."""

import re
from collections import Counter
from collections.abc import Sequence

from allmlp.errors import AllmlpError, DataError
from allmlp.pixels.pages import hint_of

Failure = tuple[str, str]
"""(path, reason)"""
SHOWN = 5
"""Reasons that a message spells out."""
ROUNDING = 1e-9
"""A share of exactly the most is put up with, however it was added up."""


def by_reason(failures: Sequence[Failure]) -> dict[str, int]:
    """Images per reason, most first; reasons that differ in a number alone are one."""
    return dict(Counter(_kind(reason) for _, reason in failures).most_common())


def in_words(failures: Sequence[Failure]) -> str:
    """Each reason with its count and one image's path, most first."""
    example = {_kind(reason): path for path, reason in reversed(failures)}
    counts = by_reason(failures)
    told = [f"{count} × {reason}, such as {example[reason]}" for reason, count in list(counts.items())[:SHOWN]]
    more = f"; and {len(counts) - SHOWN} reasons more" if len(counts) > SHOWN else ""
    return "; ".join(told) + more


def refuse_too_many(
    failures: Sequence[Failure],
    share: float,
    most: float,
    *,
    kind: type[AllmlpError] = DataError,
    where: str = "those files",
    option: str = "--data.max-bad-share",
) -> None:
    """Raises an error of this kind when more than the share `most` of the images cannot be read.

    where: what lists them. option: what allows more.

    A single one is put up with unless `most` is 0: in a small folder it is more than a share that suits large ones.
    """
    if share <= most + ROUNDING or len(failures) <= (most > 0):
        return
    images = f"{len(failures)} image{'s' * (len(failures) != 1)}"
    raise kind(
        f"{images} ({share:.1%}) cannot be read, more than {most:.1%}: {in_words(failures)}",
        hint=hint_for(failures) or f"replace or remove {where}, or put up with them: {option} {_above(share)}",
    )


def hint_for(failures: Sequence[Failure]) -> str:
    """What to do about images that cannot be read, where one thing helps with all of them; else nothing."""
    hints = {hint_of(reason) or "" for _, reason in failures}
    return hints.pop() if len(hints) == 1 else ""


def _above(share: float) -> str:
    """The next whole percentage."""
    return f"{min(int(100 * share) + 1, 100) / 100:g}"


def _kind(reason: str) -> str:
    return re.sub(r"\d[\d,.]*", "N", reason)
