"""Core ML's package for Apple's devices. Core ML runs on macOS; elsewhere the operations in the file are computed by torch."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.exporting.formats.base import Format, Order, Runner, captured, lines_before
from allmlp.exporting.mil import interpreter
from allmlp.exporting.quiet import quiet

RUNS_HERE = sys.platform == "darwin"


class CoreML(Format):
    """A folder named .mlpackage with an ML program of iOS 16 and macOS 13 or later, in which fp16 is computed throughout."""

    name = "coreml"
    title = "Core ML"
    precisions = ("fp32", "fp16")
    modules = ("coremltools",)
    extra = "coreml"
    needs = ("coremltools", "numpy", "pillow")
    planned = True
    file = "model.mlpackage"

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        with quiet("coremltools"):
            import coremltools

            width = coremltools.precision.FLOAT16 if order.precision == "fp16" else coremltools.precision.FLOAT32
            made = coremltools.convert(
                captured(replace(order, precision="fp32")).run_decompositions({}),  # which it narrows itself
                outputs=[coremltools.TensorType(name="logits", dtype=float)],
                convert_to="mlprogram",
                compute_precision=width,
                minimum_deployment_target=coremltools.target.iOS16,
                skip_model_load=True,
            )
            made.save(str(folder / self.file))
        ran = (
            "Core ML" if RUNS_HERE else "torch, operation by operation as the file has them; Core ML itself runs on macOS alone"
        )
        return {"compared_by": ran}

    def runner(self, order: Order, folder: Path) -> Runner:
        path, name = folder / self.file, order.input["name"]
        return _by_core_ml(path, name) if RUNS_HERE else interpreter(path, name)

    def code(self, order: Order) -> str:
        before = lines_before(order, "coremltools")
        return f"""{before}model = coremltools.models.MLModel("{self.file}")  # on macOS
logits = model.predict({{"{order.input["name"]}": images}})["logits"]
print(json.load(open("bundle.json"))["classes"][logits[0].argmax()])
"""


def _by_core_ml(path: Path, name: str) -> Runner:
    import coremltools

    model = coremltools.models.MLModel(str(path), compute_units=coremltools.ComputeUnit.CPU_ONLY)

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(model.predict({name: images.numpy()})["logits"])

    return run
