"""An exported graph in a model's place: its classes, its preprocessing, its answers."""

# axes: b images, c channels, h w pixels, k classes

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from allmlp.engine.backends.base import Runner, in_batches
from allmlp.engine.bundle import GRAPHS, read_bundle
from allmlp.engine.sessions import executorch_session, litert_session, onnx_session, openvino_session
from allmlp.errors import EngineError, ModelError, RunError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.reading import Reading
from allmlp.pixels.tensor import pixels_of
from allmlp.strict_json import to_json

NEEDED = {
    "onnx": (("onnx", "onnxruntime"), "export"),
    "openvino": (("openvino",), "export"),
    "executorch": (("executorch",), "executorch"),
    "litert": (("ai_edge_litert",), "litert"),
}
"""Format → what must be installed, and the extra that brings it."""
SESSIONS = {
    "onnx": onnx_session,
    "openvino": openvino_session,
    "executorch": executorch_session,
    "litert": litert_session,
}


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A bundle that answers by itself, on the CPU."""

    format: str
    precision: str
    img_size: tuple[int, int]
    reading: Reading
    """How image files are decoded for it."""
    classes: tuple[str, ...]
    preprocessing: Callable[[Image.Image], Tensor] = field(repr=False)
    """A picture → c h w; or, where the graph prepares pictures itself, whatever their size, → k, its answer at once."""
    run: Runner = field(repr=False)
    digest: str
    """Of its files."""
    folder: Path
    """Where they lie; to another process a graph goes as their name, and is read there again."""

    @property
    def in_chans(self) -> int:
        return self.reading.in_chans

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def __reduce__(self) -> tuple[Callable[[Path], "Graph"], tuple[Path]]:
        return open_graph, (self.folder,)

    def __call__(self, images: Tensor) -> Tensor:  # what `preprocessing` gave, stacked → b k
        """Logits in float32."""
        with torch.inference_mode():
            return self.run(images.float().contiguous()).float()


def open_graph(folder: Path) -> Graph:
    """A bundle of one of the formats in NEEDED.

    Raises RunError for a bundle that is damaged, EngineError for a library that is not installed or refuses the graph.
    """
    card = read_bundle(folder)
    kind = card["format"]
    modules, extra = NEEDED[kind]
    lacking = [module for module in modules if find_spec(module) is None]
    if lacking:
        raise EngineError(
            f"{folder} is a bundle of format {kind} and needs {' and '.join(lacking)}, which is not installed",
            hint=f'pip install "allmlp[{extra}]"',
        )
    path = folder / GRAPHS[kind][0]
    try:
        spec = Preprocessing.from_dict(card["preprocessing"])
        batch = card["input"]["shape"][0]
        if kind == "onnx":
            _refuse_files_beside(path)
        run = SESSIONS[kind](path, torch.get_num_threads())
    except (RunError, OSError):
        raise
    except (ModelError, KeyError, TypeError, IndexError) as error:
        raise RunError(f"{folder} cannot be used: its {error} is not understood", hint="export it anew") from None
    except Exception as error:  # libraries raise whatever they stumble over
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise EngineError(f"{path} cannot be run here: {why}", hint="upgrade the library, or export it anew") from error
    return _graph(folder, card, spec, in_batches(run, batch) if isinstance(batch, int) else run)


def _graph(folder: Path, card: dict[str, Any], spec: Preprocessing, run: Runner) -> Graph:
    prepare: Callable[[Image.Image], Tensor] = spec
    if card.get("with_preprocessing"):
        prepare, run = _answered_at_once(run), _as_it_is
    return Graph(
        format=card["format"],
        precision=str(card.get("precision")),
        img_size=spec.img_size,
        reading=spec.reading,
        classes=tuple(map(str, card["classes"])),
        preprocessing=prepare,
        run=run,
        digest=hashlib.sha256(to_json(card["files"], sort_keys=True).encode()).hexdigest(),
        folder=folder.absolute(),
    )


def _answered_at_once(run: Runner) -> Callable[[Image.Image], Tensor]:
    """Pictures of different sizes have no batch."""

    def answer(picture: Image.Image) -> Tensor:  # any size → k
        return run(pixels_of(picture)[None])[0].float()

    return answer


def _as_it_is(answers: Tensor) -> Tensor:  # b k → b k
    return answers


def _refuse_files_beside(path: Path) -> None:
    """Raises RunError for weights in files of their own, which may name any file there is: allmlp writes one file."""
    import onnx
    from onnx.external_data_helper import _get_all_tensors, uses_external_data

    for tensor in _get_all_tensors(onnx.load(path, load_external_data=False)):
        if uses_external_data(tensor):
            place = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
            raise RunError(f"{path} keeps weights in another file: {place}", hint="export it anew: allmlp writes one file")
