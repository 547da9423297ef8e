"""`allmlp.predict`: files and folders in, one row per picture out."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from allmlp.data.images import FileImages
from allmlp.data.loader import plain_batches
from allmlp.data.pictures import list_pictures
from allmlp.engine.graph import Graph
from allmlp.engine.infer import finite_rows, stream, why_not_finite
from allmlp.engine.open import Answering, check_classes, open_answering
from allmlp.engine.use import ready
from allmlp.models.base import ImageModel


def predict(
    model: Answering,
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    top: int = 3,
    batch: int = 32,
    workers: int = 0,
    engine: str = "auto",
) -> Iterator[dict[str, Any]]:
    """Classify pictures as they stream by.

    model: whatever `allmlp.load` takes or returns, or an exported graph.
    sources: files, and folders that are searched for pictures. top: classes to name per picture.
    engine: what answers: "eager" (the model as it is), a backend of `allmlp.compile`, or "auto", the fastest for many pictures.
    Yields, in order, {"path", "classes", "probabilities"}, best first, or {"path", "error"} for a picture
    that cannot be read, or whose logits are not finite. Raises DataError when a source is not there, or there is no picture
    at all; WeightsError for weights that are not finite.
    """
    opened = open_answering(model)
    check_classes(opened)
    return _rows(opened, list_pictures(sources), top, batch, workers, engine)


def _rows(
    model: ImageModel | Graph, paths: list[str], top: int, batch: int, workers: int, engine: str
) -> Iterator[dict[str, Any]]:
    images = FileImages(paths, np.zeros(len(paths), dtype=np.int64))
    names = model.classes or tuple(str(i) for i in range(model.num_classes))
    batches = plain_batches(images, model.preprocessing, reading=model.reading, batch=batch, workers=workers)
    told = 0
    how = ready(model, engine, images=len(paths), batch=batch)
    for logits, done in stream(model, batches, device=how.device, precision=how.precision, engine=how.engine):
        best = logits.softmax(-1).topk(min(max(top, 1), len(names)))
        rows: dict[str, dict[str, Any]] = {path: {"path": path, "error": reason} for path, reason in done.unreadable}
        fine = finite_rows(logits).tolist()
        columns = zip(done.indices.tolist(), best.indices.tolist(), best.values.tolist(), done.images, fine, strict=True)
        for place, order, values, pixels, good in columns:
            found = {"classes": [names[i] for i in order], "probabilities": values}
            rows[paths[place]] = {"path": paths[place], **(found if good else {"error": why_not_finite(pixels)})}
        yield from (rows[path] for path in paths[told : told + len(rows)])
        told += len(rows)
