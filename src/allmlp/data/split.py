"""Stratified, seeded choices among labelled images."""

import numpy as np
from numpy.typing import NDArray

from allmlp.data.images import Indices
from allmlp.data.keys import generator
from allmlp.errors import DataError


def split_off(
    labels: Indices, classes: tuple[str, ...], share: float, seed: int, groups: Indices | None = None
) -> tuple[Indices, Indices]:
    """(train, validation): `share` of each class is held out, at least one image and never all.

    groups: a number for each image; images of one class and one number are held out together or not at all, unless the
    class has no others. Where all numbers differ, it is as if there were none.
    Raises DataError for a class of fewer than two images.
    """
    train, held = [], []
    for number, name in enumerate(classes):
        members = np.flatnonzero(labels == number)
        if len(members) < 2:
            raise DataError(
                f"class {name!r} has {len(members)} image{'s' * (len(members) != 1)}: none can be held out for validation",
                hint="add images to it, remove the class, or give a val folder of your own beside train",
            )
        order = generator(seed, "split", number).permutation(members)
        out = min(max(round(share * len(members)), 1), len(members) - 1)
        chosen = _first(order, out, None if groups is None else groups[order])
        held.append(order[chosen])
        train.append(order[~chosen])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(held))


def _first(order: Indices, count: int, groups: Indices | None) -> NDArray[np.bool_]:
    """Which of these to hold out: the first, but a whole group or none of it. Groups too large for what is left wait."""
    plain = np.arange(len(order)) < count
    if groups is None or len(np.unique(groups)) == len(groups):
        return plain
    chosen = np.zeros(len(order), dtype=np.bool_)
    for group in dict.fromkeys(groups.tolist()):
        members = groups == group
        if chosen.sum() + members.sum() <= count:
            chosen |= members
    if not chosen.any():  # the smallest group is larger than what is to be held out
        sizes = {group: int((groups == group).sum()) for group in dict.fromkeys(groups.tolist())}
        chosen = groups == min(sizes, key=lambda group: sizes[group])
    return plain if chosen.all() else chosen


def limited(labels: Indices, classes: int, most: int, seed: int) -> Indices:
    """At most `most` images, drawn evenly: every class gives one before any gives two.

    Raises DataError when `most` is below the number of classes.
    """
    if most < classes:
        raise DataError(f"{most} images cannot cover {classes} classes", hint=f"use --train.limit {classes} or more")
    if most >= len(labels):
        return np.arange(len(labels))
    turn = _turns(labels, classes, seed)
    tie = generator(seed, "tie", 0).permutation(len(labels))
    return np.sort(np.lexsort((tie, turn))[:most])


def few_shots(labels: Indices, classes: int, shots: int, seed: int) -> Indices:
    """At most `shots` images of every class; those of fewer shots are among those of more."""
    return np.flatnonzero(_turns(labels, classes, seed) < shots)


def _turns(labels: Indices, classes: int, seed: int) -> Indices:
    """An image's place in the line of its class."""
    turn = np.empty(len(labels), dtype=np.int64)
    for number in range(classes):
        members = np.flatnonzero(labels == number)
        turn[generator(seed, "limit", number).permutation(members)] = np.arange(len(members))
    return turn
