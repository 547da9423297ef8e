"""A data set as a model sees it: a map of its features, neighbours, and the most typical and the most confusing pictures."""

# axes: n images, q queries, c channels, k classes, d directions, h w pixels

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from allmlp.data.images import Images
from allmlp.data.loader import plain_batches
from allmlp.data.progress import watched
from allmlp.data.sources import open_labelled, spec_of
from allmlp.engine.device import best_device, placed, prepared
from allmlp.engine.infer import finite_rows
from allmlp.errors import DataError, ModelError
from allmlp.explanation.pictures import seen
from allmlp.models.base import ImageModel

IMAGES = 2000
"""That are looked at, unless more are asked for."""
OF_CLASS, NEIGHBOURS, QUERIES = 4, 5, 10
"""Typical and confusing pictures of a class; neighbours of a picture; pictures whose neighbours are shown."""
AGREEING = 10
"""Neighbours whose classes are compared."""
CHUNK = 512


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One labelled picture."""

    path: str
    label: str
    predicted: str
    probability: float
    """Of its own class."""
    pixels: NDArray[np.uint8]  # h w 3

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {key: value for key, value in vars(self).items() if key != "pixels"}


@dataclass(frozen=True, kw_only=True)
class OfClass:
    """Pictures of one class."""

    name: str
    images: int
    typical: list[Shown]
    """Nearest to the middle of the class, nearest first."""
    confusing: list[Shown]
    """Whose own class is least probable, least first."""


@dataclass(frozen=True, kw_only=True)
class Near:
    """A picture, and those with the most similar features."""

    query: Shown
    neighbours: list[Shown]
    similarity: list[float]
    """Cosine of each, in [-1, 1]."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What was found, before it is drawn."""

    title: str
    images: int
    unreadable: int
    classes: list[OfClass]
    near: list[Near]
    agreement: float
    """Mean share of the ten nearest neighbours that are of the same class, in [0, 1]."""
    coordinates: Tensor  # n d
    labels: Tensor  # n
    variance: list[float]
    """Share of each direction of the map, in [0, 1]."""

    def record(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        return {
            "data": self.title,
            "images": self.images,
            "unreadable": self.unreadable,
            "neighbour_agreement": self.agreement,
            "map_variance": self.variance,
            "map": self.coordinates.tolist(),
            "labels": self.labels.tolist(),
            "classes": [
                {
                    "class": one.name,
                    "images": one.images,
                    "typical": [shown.record() for shown in one.typical],
                    "confusing": [shown.record() for shown in one.confusing],
                }
                for one in self.classes
            ],
            "neighbours": [
                {**one.query.record(), "similarity": one.similarity, "neighbours": [shown.record() for shown in one.neighbours]}
                for one in self.near
            ],
        }


@dataclass(frozen=True)
class Features:
    """A model's pooled features of labelled images, on the CPU in float32."""

    values: Tensor  # n c
    logits: Tensor  # n k
    labels: Tensor  # n
    indices: Tensor  # n
    unreadable: int


def explain_data(
    model: ImageModel, data: str | os.PathLike[str], *, limit: int = IMAGES, batch: int = 64, quiet: bool = False
) -> DataSet:
    """Look at labelled images through a model.

    data: as for `allmlp.evaluate`, matched to the model's classes by name; of more than `limit` images, as many at even
    distances. Raises ModelError for a model without class names, DataError for data that does not fit.
    """
    if limit < 2:
        raise DataError("at least two images are needed", hint="give --data-images 2 or more")
    if model.classes is None:
        raise ModelError(
            "the model does not know the names of its classes", hint="set model.classes, in the order of its outputs"
        )
    images, _ = open_labelled(data, model.classes, quiet=quiet)
    images = images.spread(limit)
    found = features(model, images, batch=batch, quiet=quiet)
    if len(found.labels) < 2:
        raise DataError(f"{len(found.labels)} of the {len(images)} images of {data} could be read", hint="check the files")
    coordinates, variance = principal(found.values)
    show = _Shower(model, images, found)
    confusing = least_certain(found.logits, found.labels)
    typical = nearest_to_middle(found.values, found.labels)
    classes = [
        OfClass(
            name=name,
            images=int((found.labels == number).sum()),
            typical=[show(i) for i in typical.get(number, [])],
            confusing=[show(i) for i in confusing.get(number, [])],
        )
        for number, name in enumerate(model.classes)
    ]
    queries = [confusing[number][0] for number in sorted(confusing)][:QUERIES]
    similarity, places = nearest(found.values, found.values[queries], NEIGHBOURS + 1)
    return DataSet(
        title=spec_of(data),
        images=len(found.labels),
        unreadable=found.unreadable,
        classes=[one for one in classes if one.images],
        near=[
            _near(show, query, row.tolist(), likeness.tolist())
            for query, row, likeness in zip(queries, places, similarity, strict=True)
        ],
        agreement=agreement(found.values, found.labels),
        coordinates=coordinates,
        labels=found.labels,
        variance=variance,
    )


@torch.inference_mode()
def features(model: ImageModel, images: Images, *, batch: int = 64, quiet: bool = False) -> Features:
    """What the classifier's last layer is given of each image that can be read."""
    device = best_device()
    prepared(model.eval(), device)
    batches = plain_batches(images, model.preprocessing, reading=model.reading, batch=batch, workers=0)
    values, logits, labels, indices, unreadable = [], [], [], [], 0
    for one in watched(batches, total=len(batches), what="looking", quiet=quiet):
        unreadable += len(one.unreadable)
        if not len(one.labels):
            continue
        tokens = model.forward_features(placed(one.images, model, device))
        values.append(model.forward_head(tokens, pre_logits=True).float().cpu())
        logits.append(model.forward_head(tokens).float().cpu())
        if not finite_rows(logits[-1]).all():
            first = images.name(int(one.indices[~finite_rows(logits[-1])][0]))
            raise ModelError(f"logits are not finite for {first}", hint="look at that image's values, or explain other weights")
        labels.append(one.labels)
        indices.append(one.indices)
    none = torch.empty(0, dtype=torch.long)
    return Features(
        torch.cat([torch.empty(0, model.num_features), *values]),
        torch.cat([torch.empty(0, model.num_classes), *logits]),
        torch.cat([none, *labels]),
        torch.cat([none, *indices]),
        unreadable,
    )


def principal(values: Tensor, directions: int = 2) -> tuple[Tensor, list[float]]:  # n c → n d
    """Coordinates along the directions of the greatest variance, and the share of it that each has.

    A direction's sign is such that its largest weight is positive. Directions without variance are zeros.
    """
    centred = values.double() - values.double().mean(0)
    _, size, weights = torch.linalg.svd(centred, full_matrices=False)
    weights = weights[:directions]
    weights = weights * weights.gather(1, weights.abs().argmax(1, keepdim=True)).sign()
    coordinates = F.pad(centred @ weights.T, (0, directions - len(weights)))
    shares = F.pad(size.square() / size.square().sum().clamp(min=torch.finfo(torch.float64).tiny), (0, directions))
    return coordinates, shares[:directions].tolist()


def nearest(values: Tensor, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:  # n c, q c → q count, q count
    """(cosine, index) of the `count` most similar features of each query, most similar first."""
    likeness = F.normalize(queries.double()) @ F.normalize(values.double()).T
    best = likeness.topk(min(count, len(values)), dim=1)
    return best.values, best.indices


def agreement(values: Tensor, labels: Tensor, count: int = AGREEING) -> float:  # n c, n → share
    """How many of the nearest neighbours are of the same class, mean over all images; none is its own neighbour."""
    count = min(count, len(values) - 1)
    same = 0
    for rows in torch.arange(len(values)).split(CHUNK):
        likeness = F.normalize(values[rows].double()) @ F.normalize(values.double()).T
        likeness[torch.arange(len(rows)), rows] = -torch.inf
        same += int((labels[likeness.topk(count, dim=1).indices] == labels[rows, None]).sum())
    return same / (len(values) * count)


def nearest_to_middle(values: Tensor, labels: Tensor, most: int = OF_CLASS) -> dict[int, list[int]]:  # n c, n
    """Class → the images whose features are most like the mean of the class, by cosine."""
    found = {}
    for number, inside in _by_class(labels):
        _, best = nearest(values[inside], values[inside].mean(0, keepdim=True), most)
        found[number] = inside[best[0]].tolist()
    return found


def least_certain(logits: Tensor, labels: Tensor, most: int = OF_CLASS) -> dict[int, list[int]]:  # n k, n
    """Class → the images whose own class is least probable."""
    own = logits.double().log_softmax(1).gather(1, labels[:, None])[:, 0]
    return {number: inside[own[inside].argsort(stable=True)[:most]].tolist() for number, inside in _by_class(labels)}


def _by_class(labels: Tensor) -> Iterator[tuple[int, Tensor]]:
    """(class, its images) of every class that has some."""
    for number in labels.unique().tolist():
        yield number, (labels == number).nonzero()[:, 0]


class _Shower:
    """Pictures by their place among the features, each opened once."""

    def __init__(self, model: ImageModel, images: Images, found: Features) -> None:
        self.model, self.images, self.found = model, images, found
        self.probabilities = found.logits.double().softmax(1)
        self.known: dict[int, Shown] = {}

    def __call__(self, place: int) -> Shown:
        if place not in self.known:
            index, label = int(self.found.indices[place]), int(self.found.labels[place])
            classes = self.model.classes or ()
            image = self.model.preprocessing(self.images.open(index, self.model.reading))
            self.known[place] = Shown(
                path=self.images.name(index),
                label=classes[label],
                predicted=classes[int(self.found.logits[place].argmax())],
                probability=float(self.probabilities[place, label]),
                pixels=seen(self.model, image),
            )
        return self.known[place]


def _near(show: _Shower, query: int, places: list[int], likeness: list[float]) -> Near:
    others = [(place, like) for place, like in zip(places, likeness, strict=True) if place != query][:NEIGHBOURS]
    return Near(query=show(query), neighbours=[show(place) for place, _ in others], similarity=[like for _, like in others])
