"""`allmlp.evaluate`: accuracy, confusion and calibration of a model on labelled images."""

import os
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from allmlp import metrics
from allmlp.data.sources import spec_of
from allmlp.engine.open import Answering, check_classes, name_of, open_answering, run_folder
from allmlp.errors import DataError
from allmlp.evaluation.answers import Split, answers, images_for
from allmlp.evaluation.mistakes import mistakes
from allmlp.evaluation.probing import probe
from allmlp.evaluation.real import evaluate_real
from allmlp.paired import estimates, image_scores
from allmlp.run import write_json


def evaluate(
    run: Answering,
    data: str | os.PathLike[str] | None = None,
    *,
    which: str = "best",
    img_size: int | tuple[int, int] | None = None,
    batch: int = 64,
    workers: int = 0,
    engine: str = "auto",
    knn: bool = False,
    linear: bool = False,
    real: bool = False,
    split: Split = "auto",
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure a run, and keep the result in its evaluation/ folder; or whatever else `allmlp.load` takes, and exported graphs.

    data: as for `train`, matched to the model's classes by name; None: the run's own test images if it has any, else its
    validation images. split: "val" or "test": those of the run's own. which: "best" or "last" weights. img_size: resize
    the model to it first. quiet: no bar.
    engine: what answers: "eager" (the model as it is), a backend of `allmlp.compile`, or "auto", the fastest for many images.
    knn, linear: measure its features instead, on classes that may be others than its own (see `evaluation.probing.probe`).
    real: by the labels of ImageNet-ReaL instead (see `evaluation.real.evaluate_real`).
    Returns shares in [0, 1] (top1, top5, loss in nats, calibration_error, calibration_error_debiased
    without what chance adds to it and with a 95 % interval, per_class, confusion, calibration)
    the most confident mistakes, and examples of each pair of classes that was confused.
    Raises AllmlpError for a run or data that cannot be used.
    """
    words: dict[str, Any] = dict(which=which, img_size=img_size, batch=batch, workers=workers, engine=engine, quiet=quiet)
    data = None if data is None else spec_of(data)
    if real and (knn or linear):
        raise DataError("ReaL judges answers, and features have none", hint="measure one after the other")
    if real:
        return evaluate_real(run, data, **words)
    if knn or linear:
        return probe(run, data, knn=knn, linear=linear, **words)
    folder = run_folder(run)
    if folder is not None:
        folder.check_writable()
    model = open_answering(run, which=which, img_size=img_size)
    check_classes(model)
    images, measured, title, left_out = images_for(folder, model.classes or (), data, quiet, split)
    if img_size is not None:
        measured += "-{}x{}".format(*model.img_size)
    started = time.monotonic()
    out, answered = answers(model, images, title=title, batch=batch, workers=workers, engine=engine, quiet=quiet)
    assert model.classes is not None
    result: dict[str, Any] = {"data": title, "split": measured, "weights": which if folder else name_of(run)}
    result["engine"] = answered
    result |= metrics.summary(out.logits, out.labels, model.classes)
    result["calibration_error_debiased"] = asdict(estimates(image_scores(out.logits, out.labels)[None])[0][0][-1])
    result |= mistakes(folder, measured, images, out, model)
    result["unreadable"] = len(left_out) + len(out.unreadable)
    result["unreadable_files"] = [{"path": p, "reason": r} for p, r in [*left_out, *out.unreadable][:1000]]
    result["seconds"] = time.monotonic() - started
    result["evaluated"] = datetime.now(UTC).isoformat(timespec="seconds")
    if folder is not None:
        write_json(folder.evaluation / f"{measured}.json", result)
    return result
