"""ExecuTorch's program for phones, run by its runtime on XNNPACK; int8 by XNNPACK's own quantiser."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from allmlp.engine.sessions import executorch_session
from allmlp.exporting.formats.base import Format, Order, Runner, captured, example, lines_before
from allmlp.exporting.quiet import quiet


class ExecuTorch(Format):
    """One .pte file. What XNNPACK takes is handed to it whole; the rest runs on ExecuTorch's portable kernels."""

    name = "executorch"
    title = "ExecuTorch"
    precisions = ("fp32", "int8")
    modules = ("executorch",)
    extra = "executorch"
    needs = ("executorch", "numpy", "pillow")
    planned = True
    file = "model.pte"

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        with quiet("torch", "root"):
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            program = captured(order)
            if order.precision == "int8":
                program = _quantised(program, order)
            made = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            with (folder / self.file).open("wb") as file:
                made.to_executorch().write_to_file(file)
        return {"delegate": "XNNPACK"}

    def runner(self, order: Order, folder: Path) -> Runner:
        return executorch_session(folder / self.file, torch.get_num_threads())

    def code(self, order: Order) -> str:
        before = lines_before(order, "torch", line="from executorch.runtime import Runtime")
        return f"""{before}program = Runtime.get().load_program("{self.file}").load_method("forward")
logits = program.execute([torch.from_numpy(images.copy())])[0]
print(json.load(open("bundle.json"))["classes"][logits[0].argmax()])
"""


def _quantised(program: torch.export.ExportedProgram, order: Order) -> torch.export.ExportedProgram:
    """Weights per output, symmetric; activations by their range on the calibration images."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    setting: Any = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    with torch.no_grad():
        watched: nn.Module = prepare_pt2e(program.module(), setting)
        for images in order.calibration:
            watched(images)
        return torch.export.export(convert_pt2e(watched), (example(order),))
