"""The folded model through OpenVINO, which generates code for its products as it loads."""

from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.backends.base import Backend, Runner, Wanted, example, in_batches
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold

HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVINO(Backend):
    """Made for one number of images; one call at a time."""

    name = "openvino"
    modules = ("openvino",)
    file = "model.xml"

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        import openvino

        path = folder / self.file
        if not path.is_file():
            openvino.save_model(_converted(model, wanted.batch), path, compress_to_fp16=False)
        values = {
            "INFERENCE_PRECISION_HINT": HINTS[wanted.precision],
            "INFERENCE_NUM_THREADS": wanted.threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,
        }
        request = openvino.Core().compile_model(path, "CPU", values).create_infer_request()
        alone = Lock()

        def run(images: Tensor) -> Tensor:  # b c h w → b k
            with alone:
                return torch.from_numpy(request.infer([images.numpy()], share_inputs=True)[0]).clone()

        return in_batches(run, wanted.batch)


def _converted(model: ImageModel, batch: int) -> Any:
    import openvino

    images = example(model, batch)
    with torch.no_grad():
        return openvino.convert_model(torch.export.export(fold(model), (images,)))
