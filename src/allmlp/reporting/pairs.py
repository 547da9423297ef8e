"""Classes that are confused with each other, and pictures of how."""

# axes: k classes

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allmlp.reporting.pictures import Inlined, inlined
from allmlp.reporting.reading import Counts
from allmlp.reporting.records import Mistake

PAIRS = 20
"""Confused pairs that are listed where there are no counts."""


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another. share: of the true class's images."""

    label: str
    predicted: str
    images: int
    share: float


@dataclass(frozen=True)
class Example:
    """A mistake to look at; picture is None where it is gone."""

    mistake: Mistake
    file: str
    picture: Inlined | None


@dataclass(frozen=True)
class Shown:
    """A pair with examples; place: (row, column) in the confusion matrix."""

    place: tuple[int, int]
    pair: Pair
    examples: list[Example]


def confused_pairs(counts: Counts, names: Sequence[str], most: int | None = PAIRS) -> list[tuple[tuple[int, int], Pair]]:  # k k
    """((row, column), pair) of the classes with the most mistakes, most first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(names)) for place in worst]
    sums = counts.sum(1)
    return [((i, j), Pair(names[i], names[j], int(wrong[i, j]), wrong[i, j] / sums[i])) for i, j in places if wrong[i, j]]


def example(folder: Path, mistake: Mistake) -> Example:
    """With its picture, from the evaluation folder."""
    return Example(mistake, Path(mistake.path).name, inlined(folder, mistake.picture) if mistake.picture else None)


def shown_pairs(counts: Counts, names: Sequence[str], mistakes: Sequence[Mistake], folder: Path) -> list[Shown]:
    """The pairs that have pictures, most mistakes first."""
    by_pair: dict[tuple[str, str], list[Example]] = {}
    for mistake in mistakes:
        found = example(folder, mistake)
        if found.picture is not None:
            by_pair.setdefault((mistake.label, mistake.predicted), []).append(found)
    return [
        Shown(place, pair, by_pair[pair.label, pair.predicted])
        for place, pair in confused_pairs(counts, names, None)
        if (pair.label, pair.predicted) in by_pair
    ]
