"""How good a model's features are, whatever its classes: by nearest neighbours and by a linear classifier."""

# axes: n images, c features

import copy
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from allmlp.data.images import Images, Source
from allmlp.data.sources import open_source
from allmlp.engine.graph import Graph
from allmlp.engine.load import load, source_name
from allmlp.engine.open import Answering, run_folder
from allmlp.errors import DataError, EngineError
from allmlp.evaluation.answers import answers, file_name
from allmlp.evaluation.linear import linear_probe
from allmlp.files import writing
from allmlp.models.base import ImageModel
from allmlp.neighbours import NEIGHBOURS, TEMPERATURE, knn_top1
from allmlp.recipe import Recipe, load_recipe
from allmlp.run import Run, write_json


def probe(
    run: Answering,
    data: str | os.PathLike[str] | None = None,
    *,
    knn: bool,
    linear: bool,
    which: str = "best",
    img_size: int | tuple[int, int] | None = None,
    batch: int = 64,
    workers: int = 0,
    engine: str = "auto",
    seed: int = 0,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure the features that a model gives its last layer, on classes that may be others than its own.

    data: as for `train`: its training images vote and teach, its test images are asked about, else its validation images;
    None: the run's own. knn: 10, 20, 100 and 200 neighbours at temperature 0.07. linear: a classifier on features of whole
    pictures, without augmentation, its learning rate chosen on a tenth of the training images. The rest as for `evaluate`.
    Returns shares in [0, 1]: knn.top1 by number of neighbours, linear.top1 and its sweep; kept in the run's features/.
    Raises AllmlpError for a run or data that cannot be used.
    """
    if isinstance(run, Graph):
        raise EngineError("an exported graph gives no features", hint="give the run it was made from")
    folder, name = run_folder(run), source_name(run)
    if folder is not None:
        folder.check_writable()
    model = load(run, which=which, img_size=img_size)
    source = _source(folder, data, seed, quiet)
    asked, split = (source.val, "validation") if source.test is None else (source.test, "test")
    started = time.monotonic()
    words: dict[str, Any] = dict(batch=batch, workers=workers, engine=engine, quiet=quiet)
    taught, labels = _features(model, source.train, f"{source.title}, training images", **words)
    shown, due = _features(model, asked, f"{source.title}, {split} images", **words)
    if len(taught) < max(2, min(NEIGHBOURS)):
        raise DataError(f"{len(taught)} training images are too few", hint=f"give {min(NEIGHBOURS)} or more")
    result: dict[str, Any] = {
        "data": source.title,
        "split": split,
        "weights": which if folder else name,
        "seed": seed,
    }
    result |= {
        "classes": len(source.classes),
        "features": taught.shape[1],
        "training_images": len(taught),
        "images": len(shown),
    }
    if knn:
        found = knn_top1(taught, labels, shown, due)
        result["knn"] = {"temperature": TEMPERATURE, "top1": {str(k): value for k, value in found.items()}}
    if linear:
        made = linear_probe(taught, labels, shown, due, classes=len(source.classes), seed=seed, quiet=quiet)
        result["linear"] = made.record()
    result["seconds"] = time.monotonic() - started
    result["evaluated"] = datetime.now(UTC).isoformat(timespec="seconds")
    if folder is not None:
        with writing(folder.features):
            folder.features.mkdir(exist_ok=True)
        write_json(folder.features / f"{file_name(Path(source.title).name)}.json", result)
    return result


def _source(run: Run | None, data: str | os.PathLike[str] | None, seed: int, quiet: bool) -> Source:
    if data is not None:
        return open_source(os.fspath(data), **Recipe().data.opening, seed=seed, quiet=quiet)
    if run is None:
        raise DataError(
            "weights without a run folder have no images of their own", hint="give a folder of class folders as DATA"
        )
    recipe = load_recipe(run.recipe)
    return open_source(run.data_spec(), **recipe.data.opening, seed=recipe.seed, quiet=quiet)


def _features(model: ImageModel, images: Images, title: str, **words: Any) -> tuple[Tensor, Tensor]:  # → n c, n
    headless = copy.deepcopy(model)
    headless.reset_classifier(0)
    found, _ = answers(headless, images, title=title, what="features", **words)
    return found.logits, found.labels
