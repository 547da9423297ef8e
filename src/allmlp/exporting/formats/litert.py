"""LiteRT's flatbuffer (.tflite) for phones and small boards, run by LiteRT; int8 by AI Edge's quantiser."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.engine.sessions import litert_session
from allmlp.exporting.formats.base import Deployed, Format, Order, Runner, example, lines_before
from allmlp.exporting.quiet import quiet


class LiteRT(Format):
    """One .tflite file with one signature, whose input and output have the bundle's names."""

    name = "litert"
    title = "LiteRT"
    precisions = ("fp32", "int8")
    modules = ("litert_torch", "ai_edge_litert")
    extra = "litert"
    needs = ("ai-edge-litert", "numpy", "pillow")
    planned = True
    file = "model.tflite"

    def needed(self, order: Order) -> tuple[str, ...]:
        return (*self.modules, "ai_edge_quantizer") if order.precision == "int8" else self.modules

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        with quiet("torch", "root"):
            import litert_torch
            from litert_torch import progress

            progress.config.show_progress = False
            with torch.no_grad():
                made = litert_torch.convert(_Named(order).eval(), sample_kwargs={order.input["name"]: example(order)})
            made.export(str(folder / self.file))
            if order.precision == "int8":
                _quantise(folder / self.file)
        return {}

    def runner(self, order: Order, folder: Path) -> Runner:
        return litert_session(folder / self.file, torch.get_num_threads())

    def code(self, order: Order) -> str:
        before = lines_before(order, line="from ai_edge_litert.interpreter import Interpreter")
        return f"""{before}run = Interpreter("{self.file}").get_signature_runner()
logits = run({order.input["name"]}=images)["logits"]
print(json.load(open("bundle.json"))["classes"][logits[0].argmax()])
"""


class _Named(nn.Module):
    """What a signature takes its names from."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.model = Deployed(order)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.model(images)}


def _quantise(path: Path) -> None:
    """Weights per output; activations by their range as it runs. Ranges set beforehand cost a small ResMLP a third."""
    from ai_edge_quantizer import quantizer, recipe

    made = quantizer.Quantizer(str(path), recipe.dynamic_wi8_afp32())
    made.quantize().export_model(str(path), overwrite=True)
