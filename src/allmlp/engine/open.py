"""Whatever answers for pictures: a run, weights, a released checkpoint, or a bundle, graphs among them."""

import os
from pathlib import Path

from allmlp.engine.bundle import GRAPHS, is_bundle
from allmlp.engine.graph import Graph, open_graph
from allmlp.engine.load import load
from allmlp.errors import ModelError, RunError
from allmlp.models.base import ImageModel
from allmlp.run import BUNDLE, Run, read_json


def open_answering(
    source: str | os.PathLike[str] | Run, *, which: str = "best", img_size: int | tuple[int, int] | None = None
) -> ImageModel | Graph:
    """As `allmlp.load`, and a bundle that holds a graph as it is. Raises as that does, and for img_size of a graph."""
    folder = source.folder if isinstance(source, Run) else Path(source)
    said = read_json(folder / BUNDLE) if is_bundle(folder) else None
    kind = said.get("format") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in GRAPHS:
        return load(source, which=which, img_size=img_size)
    if img_size is not None:
        raise RunError(f"{folder} is a graph of one image size", hint="leave --img-size out, or export with it")
    return open_graph(folder)


def check_classes(model: ImageModel | Graph) -> None:
    """Raises ModelError for a model that has features alone, as one that was trained without labels."""
    if not model.num_classes:
        raise ModelError(
            "this model has features and no classes (num_classes=0)",
            hint="learn classes from it: allmlp train DATA --init RUN; or measure its features: allmlp evaluate --knn --linear",
        )
