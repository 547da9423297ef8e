"""ONNX, run by ONNX Runtime; int8 by ONNX Runtime's static quantisation."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.sessions import onnx_session
from allmlp.exporting.formats.base import Format, Order, Runner, captured, example, lines_before
from allmlp.exporting.quiet import quiet

OPSET = 18
"""The first whose Resize, LayerNormalization and reductions every current program knows."""


class ONNX(Format):
    """One file; weights beside it are what ONNX Runtime refuses."""

    name = "onnx"
    title = "ONNX"
    precisions = ("fp32", "fp16", "int8")
    modules = ("onnx", "onnxscript", "onnxruntime")
    needs = ("onnxruntime", "numpy", "pillow")
    file = "model.onnx"

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        import onnx

        path = folder / self.file
        whole = captured(order)
        with quiet("torch.onnx"):
            torch.onnx.export(
                whole,
                (example(order),),
                path,
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=OPSET,
                input_names=[order.input["name"]],
                output_names=["logits"],
            )
        made = onnx.load(path)
        _name_axes(made, order)
        onnx.save(made, path)
        if order.precision == "int8":
            _quantise(path, order.input["name"], order.calibration)
        made = onnx.load(path)
        onnx.checker.check_model(made, full_check=True)
        return {
            "opset": {entry.domain or "ai.onnx": entry.version for entry in made.opset_import},
            "ir_version": made.ir_version,
        }

    def runner(self, order: Order, folder: Path) -> Runner:
        return onnx_session(folder / self.file, torch.get_num_threads())

    def code(self, order: Order) -> str:
        before, name = lines_before(order, "onnxruntime"), order.input["name"]
        return f"""{before}logits = onnxruntime.InferenceSession("{self.file}").run(None, {{"{name}": images}})[0]
print(json.load(open("bundle.json"))["classes"][logits[0].argmax()])
"""


def _name_axes(made: Any, order: Order) -> None:
    """The words of the bundle for axes of any length, in place of the exporter's own; shapes inside follow when it is run."""
    del made.graph.value_info[:]  # quantisation fails on shapes it has inferred otherwise
    for given, shape in ((made.graph.input[0], order.input["shape"]), (made.graph.output[0], [order.input["shape"][0]])):
        for place, length in zip(given.type.tensor_type.shape.dim, shape, strict=False):
            if isinstance(length, str):
                place.dim_param = length


def _quantise(path: Path, name: str, calibration: Iterable[Tensor]) -> None:
    """Weights per output, activations by their range on the calibration images; sums stay in 32 bits."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images: Iterator[Tensor] = iter(calibration)

        def get_next(self) -> dict[str, Any] | None:
            image = next(self.images, None)
            return None if image is None else {name: image.numpy()}

    prepared = path.with_suffix(".prepared.onnx")
    with quiet(""):
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm", "Conv"],
        )
    prepared.unlink()
    shutil.rmtree(path.parent / "augmented_model.onnx", ignore_errors=True)
