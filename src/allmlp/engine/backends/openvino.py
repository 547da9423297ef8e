"""The folded model through OpenVINO, which generates code for its products as it loads."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.backends.base import CPU, Backend, Runner, Wanted, example, in_batches
from allmlp.engine.quantise import by_nncf
from allmlp.engine.sessions import openvino_session
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What it computes in where its file does not say; int8 is said by the file."""


class OpenVINO(Backend):
    """Made for one number of images; one call at a time."""

    name = "openvino"
    precisions = tuple(HINTS)
    modules = ("openvino",)
    file = "model.xml"

    def refusal(self, precision: str, device: torch.device = CPU) -> EngineError | None:
        if precision == "int8" and device.type == "cpu" and find_spec("nncf") is None:
            return EngineError("int8 needs nncf, which is not installed", hint='pip install "allmlp[export]"')
        return super().refusal(precision, device)

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        import openvino

        path = folder / self.file
        if not path.is_file():
            made = _converted(model, wanted.batch)
            if wanted.setting is not None:
                made = by_nncf(made, _whole_batches(wanted.setting, wanted.batch))
            openvino.save_model(made, path, compress_to_fp16=False)
        return in_batches(openvino_session(path, wanted.threads, HINTS[wanted.precision]), wanted.batch)


def _converted(model: ImageModel, batch: int) -> Any:
    import openvino

    images = example(model, batch)
    with torch.no_grad():
        return openvino.convert_model(torch.export.export(fold(model), (images,)))


def _whole_batches(images: Tensor, batch: int) -> tuple[Tensor, ...]:  # n c h w → batch c h w each
    """The last one is filled up from the first images: the model takes one number of them only."""
    return images[torch.arange(-(-len(images) // batch) * batch) % len(images)].split(batch)
