"""OpenVINO's intermediate representation, run by OpenVINO; int8 by NNCF."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from allmlp.engine.quantise import by_nncf
from allmlp.engine.sessions import openvino_session
from allmlp.exporting.formats.base import Format, Order, Runner, captured, lines_before


class OpenVINO(Format):
    """Two files: operations, and weights. fp16 means weights: what products are computed in is for the processor."""

    name = "openvino"
    title = "OpenVINO"
    precisions = ("fp32", "fp16", "int8")
    modules = ("openvino",)
    needs = ("openvino", "numpy", "pillow")
    file = "model.xml"

    def needed(self, order: Order) -> tuple[str, ...]:
        return (*self.modules, "nncf") if order.precision == "int8" else self.modules

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        import openvino

        made = openvino.convert_model(captured(replace(order, precision="fp32")))  # weights are rounded as they are saved
        made.inputs[0].get_tensor().set_names({order.input["name"]})
        made.outputs[0].get_tensor().set_names({"logits"})
        shape = [-1 if isinstance(length, str) else length for length in order.input["shape"]]
        made.reshape({made.inputs[0]: openvino.PartialShape(shape)})
        if order.precision == "int8":
            made = by_nncf(made, order.calibration)
        openvino.save_model(made, folder / self.file, compress_to_fp16=order.precision == "fp16")
        return {}

    def runner(self, order: Order, folder: Path) -> Runner:
        return openvino_session(folder / self.file, torch.get_num_threads())

    def code(self, order: Order) -> str:
        before = lines_before(order, "openvino")
        return f"""{before}model = openvino.Core().compile_model("{self.file}", "CPU", {{"INFERENCE_PRECISION_HINT": "f32"}})
print(json.load(open("bundle.json"))["classes"][model(images)[0][0].argmax()])
"""
