"""The per-batch function of `predict --out`: pictures → rows, by a model that was made ready once."""

# axes: b batch, c channels, k classes

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.data.loader import Batch
from allmlp.data.stream import Picture
from allmlp.engine.graph import Graph
from allmlp.engine.infer import finite_rows, why_not_finite
from allmlp.engine.infer import stream as answers
from allmlp.engine.open import check_classes
from allmlp.engine.use import ready
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.pixels.read import UnreadableImage

AHEAD = 4
"""Batches that are decoded before they are needed."""


class Asked:
    """A model, or the engine in its place, and what is wanted of it."""

    def __init__(
        self, model: ImageModel | Graph, top: int, batch: int, engine: str, embeddings: bool, *, images: int, quiet: bool
    ) -> None:
        self.batch = batch
        if not embeddings:
            check_classes(model)
        self.names = model.classes or tuple(map(str, range(model.num_classes)))
        self.top = min(max(top, 1), len(self.names))
        self.preprocessing, self.reading = model.preprocessing, model.reading
        self.head: nn.Module | None = None
        if embeddings:
            if isinstance(model, Graph):
                raise EngineError("an exported graph gives no embeddings", hint="give the run it was made from")
            self.head = copy.deepcopy(model.head).cpu().float()
            model = copy.deepcopy(model)
            model.reset_classifier(0)
        self.model, self.how = model, ready(model, engine, images=images, batch=batch, quiet=quiet)

    def rows(self, pictures: Iterable[Picture], pool: ThreadPoolExecutor) -> Iterator[dict[str, Any]]:
        """One for each picture, in their order."""
        held: list[list[str]] = []
        batches = self._batches(pictures, pool, held)
        how = self.how
        for output, done in answers(self.model, batches, device=how.device, precision=how.precision, engine=how.engine):
            errors = dict(done.unreadable)
            told = iter(self._told(output, done.images) if len(done.labels) else ())
            for place, name in enumerate(held.pop(0)):
                reason = errors.get(str(place))
                yield {"path": name, "error": reason} if reason is not None else {"path": name, **next(told)}

    def _told(self, output: Tensor, images: Tensor) -> Iterator[dict[str, Any]]:  # b k, or b c; b c h w
        with torch.inference_mode():
            logits = output if self.head is None else self.head(output)
        good = (finite_rows(output) & finite_rows(logits)).tolist()
        best = logits.softmax(-1).topk(self.top)
        for number, (order, values) in enumerate(zip(best.indices.tolist(), best.values.tolist(), strict=True)):
            if not good[number]:
                yield {"error": why_not_finite(images[number])}
                continue
            more = {} if self.head is None else {"embedding": output[number].numpy()}
            yield {"classes": [self.names[i] for i in order], "probabilities": values, **more}

    def _batches(self, pictures: Iterable[Picture], pool: ThreadPoolExecutor, held: list[list[str]]) -> Iterator[Batch]:
        """Decoded ahead of their turn; the names of each go into `held`, and failures under their places in it."""
        ready = _ahead(pictures, pool, self._decoded, AHEAD * self.batch)
        while chunk := list(islice(ready, self.batch)):
            held.append([name for name, _ in chunk])
            good = [image for _, image in chunk if isinstance(image, Tensor)]
            bad = [(str(place), image.reason) for place, (_, image) in enumerate(chunk) if not isinstance(image, Tensor)]
            count = torch.arange(len(good))
            yield Batch(torch.stack(good) if good else torch.empty(0), count, count, bad)

    def _decoded(self, picture: Picture) -> Tensor | UnreadableImage:
        try:
            return self.preprocessing(picture.open(self.reading))
        except UnreadableImage as error:
            return error


def _ahead(pictures: Iterable[Picture], pool: ThreadPoolExecutor, work: Any, most: int) -> Iterator[tuple[str, Any]]:
    """(name, what `work` made of the picture) in order, at most so many at a time."""
    waiting: deque[tuple[str, Future[Any]]] = deque()
    for picture in pictures:
        waiting.append((picture.name, pool.submit(work, picture)))
        if len(waiting) >= most:
            name, future = waiting.popleft()
            yield name, future.result()
    while waiting:
        name, future = waiting.popleft()
        yield name, future.result()
