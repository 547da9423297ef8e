"""Whatever answers for pictures: a run, weights, a released checkpoint, or a bundle, graphs among them."""

from pathlib import Path

from allmlp.engine.bundle import GRAPHS, is_bundle
from allmlp.engine.graph import Graph, open_graph
from allmlp.engine.load import ModelSource, load, source_name, source_path
from allmlp.errors import ModelError, RunError
from allmlp.models.base import ImageModel
from allmlp.run import BUNDLE, Run, read_json

Answering = ModelSource | Graph
"""Whatever `load` takes, and exported graphs."""


def open_answering(
    source: Answering, *, which: str = "best", img_size: int | tuple[int, int] | None = None
) -> ImageModel | Graph:
    """As `allmlp.load`, and a bundle that holds a graph as it is. Raises as that does, and for img_size of a graph."""
    if isinstance(source, ImageModel):
        return load(source, img_size=img_size)
    if isinstance(source, Graph):
        if img_size is not None:
            raise _one_size(source.folder)
        return source
    folder = source_path(source)
    said = read_json(folder / BUNDLE) if is_bundle(folder) else None
    kind = said.get("format") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in GRAPHS:
        return load(source, which=which, img_size=img_size)
    if img_size is not None:
        raise _one_size(folder)
    return open_graph(folder)


def _one_size(folder: Path) -> RunError:
    return RunError(f"{folder} is a graph of one image size", hint="leave --img-size out, or export with it")


def run_folder(source: Answering) -> Run | None:
    """The run that a source is; None for weights, bundles, names and models. Raises RunError for a folder that is no run."""
    if isinstance(source, Run):
        return source
    if isinstance(source, ImageModel | Graph):
        return None
    folder = source_path(source)
    return Run.open(folder) if folder.is_dir() and not is_bundle(folder) else None


def name_of(source: Answering) -> str:
    """What to call a source in records and messages."""
    return str(source.folder) if isinstance(source, Graph) else source_name(source)


def check_classes(model: ImageModel | Graph) -> None:
    """Raises ModelError for a model that has features alone, as one that was trained without labels."""
    if not model.num_classes:
        raise ModelError(
            "this model has features and no classes (num_classes=0)",
            hint="learn classes from it: allmlp train DATA --init RUN; or measure its features: allmlp evaluate --knn --linear",
        )
