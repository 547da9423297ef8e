"""The folded model as ONNX, run by ONNX Runtime."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from allmlp.engine.backends.base import Backend, Runner, Wanted, example, in_batches
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold


class ONNXRuntime(Backend):
    """In float32 only: on CPUs ONNX Runtime has few operations in bf16."""

    name = "onnxruntime"
    precisions = ("fp32",)
    modules = ("onnx", "onnxscript", "onnxruntime")
    file = "model.onnx"

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        import onnxruntime

        path = folder / self.file
        if not path.is_file():
            _export(fold(model), example(model, wanted.batch), path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = wanted.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would keep cores busy
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name

        def run(images: Tensor) -> Tensor:  # b c h w → b k
            return torch.from_numpy(session.run(None, {name: images.numpy()})[0])

        return in_batches(run, wanted.batch)


def _export(folded: ImageModel, images: Tensor, path: Path) -> None:
    """In one file: ONNX Runtime refuses weights that lie elsewhere."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of every operator it passes over
    try:
        torch.onnx.export(folded, (images,), path, dynamo=True, external_data=False, verbose=False)
    finally:
        log.setLevel(level)
