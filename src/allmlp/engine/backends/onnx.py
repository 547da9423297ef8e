"""The folded model as ONNX, run by ONNX Runtime."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from allmlp.engine.backends.base import Backend, Runner, Wanted, example, in_batches
from allmlp.engine.sessions import onnx_session
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold


class ONNXRuntime(Backend):
    """In float32 only: on CPUs ONNX Runtime has few operations in bf16."""

    name = "onnxruntime"
    precisions = ("fp32",)
    modules = ("onnx", "onnxscript", "onnxruntime")
    file = "model.onnx"

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        path = folder / self.file
        if not path.is_file():
            _export(fold(model), example(model, wanted.batch), path)
        return in_batches(onnx_session(path, wanted.threads), wanted.batch)


def _export(folded: ImageModel, images: Tensor, path: Path) -> None:
    """In one file: ONNX Runtime refuses weights that lie elsewhere."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)  # it tells of every operator it passes over
    try:
        torch.onnx.export(folded, (images,), path, dynamo=True, external_data=False, verbose=False)
    finally:
        log.setLevel(level)
