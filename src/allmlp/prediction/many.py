"""`allmlp predict --out`: millions of pictures → one file, with bounded memory, resumed after any kill."""

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from allmlp.data.pictures import named
from allmlp.data.progress import counting
from allmlp.data.stream import changed, stream, survey
from allmlp.engine.graph import Graph
from allmlp.engine.kept import model_hash
from allmlp.engine.open import Answering, open_answering
from allmlp.models.base import ImageModel
from allmlp.prediction import spread
from allmlp.prediction.asked import Asked
from allmlp.prediction.parts import ROWS, Parts
from allmlp.prediction.tables import check_ending

RAY = "ray"
"""The engine that is a cluster, each of whose actors takes the engine "auto"."""


def predict_many(
    model: Answering,
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    top: int = 3,
    batch: int = 32,
    engine: str = "auto",
    embeddings: bool = False,
    workers: int | None = None,
    quiet: bool = True,
) -> dict[str, Any]:
    """Classify any number of pictures into a file, a row each, in the order of the sources.

    sources: pictures, folders, "@list.txt" (a path a line), patterns, tar archives, parquet files; and addresses of any of
    these.
    out: by its ending parquet, CSV (.csv: path, class_1, probability_1 and so on, error) or JSON lines (.jsonl).
    Columns: path, classes and probabilities (the best `top`, best first), embedding (with `embeddings`: the pooled
    features, b c), and error, for a picture that cannot be read.
    engine: as for `allmlp.predict`; or "ray": "auto", in the actors of a Ray cluster (extra ray; docs/predict.md).
    workers: threads that decode, one a processor if None; or actors, one a GPU, or a processor where there are none.
    Finished rows lie in OUT.parts; the same call goes on after a kill, and no row is lost or there twice. What was begun
    on one machine may be finished on Ray, and the other way round.
    Returns {"rows", "errors", "kept" (rows of an earlier call), "seconds", "out",
    "passed_over" (endings of files in folders that are no images, with their number)}.
    Raises DataError for sources that are not there; RunError where OUT is, or where its parts are of something else.
    """
    model, given, out = open_answering(model), named(sources), Path(out)
    check_ending(out, embeddings=embeddings)
    on_ray, engine = engine == RAY, "auto" if engine == RAY else engine
    if on_ray:
        spread.library()
    started, found = time.monotonic(), survey(given, quiet=quiet)
    parts = Parts(out, found.count, top=min(max(top, 1), model.num_classes), embeddings=embeddings)
    options = {"top": top, "embeddings": embeddings, "engine": engine, "rows": ROWS}
    with parts.held({"model": _identity(model), "source": found.digest, "options": options, "sources": given}):
        missing = parts.missing()
        left = sum(map(len, missing))
        if missing:
            asking: dict[str, Any] = dict(top=top, batch=batch, engine=engine, embeddings=embeddings, images=left)
            with counting(found.count, "classifying", done=found.count - left, quiet=quiet) as more:
                if on_ray:
                    spread.answered(parts, missing, given, model, asking, workers, more)
                else:
                    ask = Asked(model, **asking, quiet=quiet)
                    _answered(parts, missing, given, ask, workers or os.cpu_count() or 1, more)
        errors = parts.merge()
    return {
        "rows": found.count,
        "errors": errors,
        "kept": found.count - left,
        "seconds": time.monotonic() - started,
        "out": str(out),
        "passed_over": dict(found.passed_over),
    }


def _identity(model: ImageModel | Graph) -> str:
    return model.digest if isinstance(model, Graph) else model_hash(model)


def _answered(
    parts: Parts, missing: list[range], sources: list[str], ask: Asked, workers: int, more: Callable[[int], None]
) -> None:
    """Write every missing part."""
    place = missing[0].start
    pictures = stream(sources, place)
    with ThreadPoolExecutor(workers) as pool:
        for span in missing:
            for _ in islice(pictures, span.start - place):
                pass
            rows = []
            for row in ask.rows(islice(pictures, len(span)), pool):
                rows.append(row)
                more(1)
            place = span.stop
            if len(rows) != len(span):
                raise changed()
            parts.write(span, rows)
