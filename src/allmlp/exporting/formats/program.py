"""torch.export's program, run by torch."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.exporting.formats.base import Format, Order, Runner, captured, lines_before


class Program(Format):
    """A .pt2 file, for torch and all that starts from it, such as AOTInductor and ExecuTorch."""

    name = "torch"
    title = "torch.export"
    precisions = ("fp32", "fp16", "bf16")
    needs = ("torch", "numpy", "pillow")
    file = "model.pt2"

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        torch.export.save(captured(order), folder / self.file)
        return {}

    def runner(self, order: Order, folder: Path) -> Runner:
        program: Any = torch.export.load(folder / self.file).module()  # which this process has just written

        def run(images: Tensor) -> Tensor:
            with torch.inference_mode():
                return program(images)

        return run

    def code(self, order: Order) -> str:
        before = lines_before(order, "torch")
        return f"""{before}logits = torch.export.load("{self.file}").module()(torch.from_numpy(images.copy()))
print(json.load(open("bundle.json"))["classes"][logits[0].argmax()])
"""
