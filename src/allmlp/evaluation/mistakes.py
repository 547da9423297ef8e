"""Which images a model got wrong, and in a run folder small pictures of them."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data.images import Images
from allmlp.engine.graph import Graph
from allmlp.engine.infer import Outputs
from allmlp.files import writing
from allmlp.models.base import ImageModel
from allmlp.pixels.reading import Reading
from allmlp.run import Run

MISTAKES, THUMBNAIL = 24, 160
"""The most confident mistakes that are kept, and the longest side of their pictures in pixels."""
EXAMPLES, SMALLER = 3, 80
"""Of each pair of classes that was confused, and the longest side of their pictures."""
ENOUGH = 1_500_000
"""Bytes of examples after which no more are kept, so that a page with all of them stays small."""

Numbers = NDArray[np.int64]


def mistakes(
    run: Run | None, split: str, images: Images, out: Outputs, model: ImageModel | Graph
) -> dict[str, list[dict[str, Any]]]:
    """ "mistakes": the images that were wrong with the highest confidence; "examples": a few of each pair of classes, pairs
    with the most mistakes first. Without a run they have no pictures."""
    confidence, predicted = (t.numpy() for t in out.logits.softmax(1).max(1))
    labels = out.labels.numpy()
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")]
    classes = model.classes or ()

    def described(i: int, picture: dict[str, str]) -> dict[str, Any]:
        return {
            **picture,
            "path": images.name(int(out.indices[i])),
            "label": classes[int(labels[i])],
            "predicted": classes[int(predicted[i])],
            "confidence": float(confidence[i]),
        }

    if run is None:
        return {"mistakes": [described(i, {}) for i in surest[:MISTAKES]], "examples": []}
    examples: list[tuple[int, dict[str, Any]]] = []
    with _Album(run.evaluation / f"mistakes-{split}", images, model.reading) as album:
        shown = [
            described(i, album.keep(f"{place:02}", int(out.indices[i]), THUMBNAIL)) for place, i in enumerate(surest[:MISTAKES])
        ]
        album.bytes = 0
        for pair, i in by_pair(surest, labels, predicted):
            if album.bytes > ENOUGH:
                break
            examples.append((pair, described(i, album.keep(f"pair-{len(examples):03}", int(out.indices[i]), SMALLER))))
    return {"mistakes": shown, "examples": [one for _, one in sorted(examples, key=lambda found: found[0])]}


def by_pair(surest: Numbers, labels: Numbers, predicted: Numbers, most: int = EXAMPLES) -> Iterator[tuple[int, int]]:
    """(rank of the pair, image): of every pair of classes its surest mistake, then of each the next; pairs with the most
    mistakes come first, and of as many, the one with the surest."""
    pairs: dict[tuple[int, int], list[int]] = {}
    for i in surest.tolist():
        pairs.setdefault((int(labels[i]), int(predicted[i])), []).append(i)
    ordered: Sequence[list[int]] = sorted(pairs.values(), key=len, reverse=True)
    for turn in range(most):
        yield from ((rank, found[turn]) for rank, found in enumerate(ordered) if turn < len(found))


class _Album:
    """A folder of small pictures, which takes the place of an older one when all of them are there."""

    def __init__(self, folder: Path, images: Images, reading: Reading) -> None:
        self.folder, self.images, self.reading = folder, images, reading
        self.half = folder.with_name(f".{folder.name}")
        self.bytes = 0

    def __enter__(self) -> "_Album":
        shutil.rmtree(self.half, ignore_errors=True)
        self.half.mkdir(parents=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.half.rename(self.folder)
        shutil.rmtree(self.half, ignore_errors=True)

    def keep(self, name: str, index: int, side: int) -> dict[str, str]:
        """The image as NAME.png; where it lies, from the evaluation folder."""
        picture = self.images.open(index, self.reading)
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        path = self.half / f"{name}.png"
        with writing(path):
            picture.save(path)
        self.bytes += path.stat().st_size
        return {"picture": f"{self.folder.name}/{path.name}"}
