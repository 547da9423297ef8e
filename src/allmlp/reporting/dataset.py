"""The part of an explanation's page that is about a data set."""

from typing import Any

import numpy as np

from allmlp.explanation.dataset import DataSet, Near, Shown
from allmlp.reporting import overlays
from allmlp.reporting.feature_map import feature_map
from allmlp.reporting.overlays import Overlay
from allmlp.reporting.pictures import Inlined, from_pixels
from allmlp.reporting.plates import Plates
from allmlp.reporting.words import percent, shortened

IN_FILE = 20
"""Classes in the picture file; the page has all."""
LABEL = 20
"""Longest class name over a picture, in columns."""


def dataset_section(found: DataSet, plates: Plates, title: str) -> dict[str, Any]:
    """The map, each class's pictures, and neighbours; as files features.png, classes.png and neighbours.png."""
    names = [one.name for one in found.classes]
    numbers = np.unique(found.labels.numpy(), return_inverse=True)[1]
    drawn = plates.both(
        feature_map,
        found.coordinates.numpy(),
        numbers,
        names,
        name="features",
        description=f"A map of {found.images} images by their features. Each class's name stands amid its dots.",
        title=f"{found.images:,} images as {title} sees them",
        variance=found.variance,
    )
    rows = [[*map(_typical, one.typical), *map(_confusing, one.confusing)] for one in found.classes]
    across = max(map(len, rows))
    together = [overlay for row in rows[:IN_FILE] for overlay in _filled(row, across)]
    plates.file(overlays.overlays, together, name="classes", title="Most typical, and most confusing", across=across)
    near = [[_query(one.query), *_neighbours(one)] for one in found.near]
    across = max(map(len, near))
    together = [overlay for row in near for overlay in _filled(row, across)]
    plates.file(overlays.overlays, together, name="neighbours", title="Confusing pictures and their neighbours", across=across)
    return {
        "found": found,
        "map": drawn,
        "classes": [
            (one, [_inline(s, _typical(s)) for s in one.typical], [_inline(s, _confusing(s)) for s in one.confusing])
            for one in found.classes
        ],
        "near": [
            [_inline(s, overlay) for s, overlay in zip([one.query, *one.neighbours], row, strict=True)]
            for one, row in zip(found.near, near, strict=True)
        ],
    }


def _inline(shown: Shown, overlay: Overlay) -> tuple[Inlined, str, str, str]:
    """(picture, title, note, path)"""
    return from_pixels(shown.pixels), overlay.title, overlay.note, shown.path


def _filled(row: list[Overlay], across: int) -> list[Overlay]:
    """As long as the others, with nothing in the rest."""
    assert row[0].pixels is not None
    nothing = Overlay(title="", note="", pixels=np.full((*row[0].pixels.shape[:2], 4), 0, dtype=np.uint8))
    return [*row, *[nothing] * (across - len(row))]


def _typical(shown: Shown) -> Overlay:
    return Overlay(title=shortened(shown.label, LABEL), note=f"{percent(shown.probability)} sure", pixels=shown.pixels)


def _confusing(shown: Shown) -> Overlay:
    """What it was taken for; a picture may be confusing and right all the same."""
    right = shown.predicted == shown.label
    title = "right all the same" if right else f"taken for {shown.predicted}"
    return Overlay(
        title=shortened(title, LABEL + 2),
        note=f"{shortened(shown.label, 12)} {percent(shown.probability)}",
        pixels=shown.pixels,
    )


def _query(shown: Shown) -> Overlay:
    note = "taken for " + shown.predicted if shown.predicted != shown.label else "right all the same"
    return Overlay(title=shortened(shown.label, LABEL), note=shortened(note, LABEL + 4), pixels=shown.pixels)


def _neighbours(one: Near) -> list[Overlay]:
    return [
        Overlay(title=shortened(shown.label, LABEL), note=f"cosine {likeness:.3f}", pixels=shown.pixels)
        for shown, likeness in zip(one.neighbours, one.similarity, strict=True)
    ]
