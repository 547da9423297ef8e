"""The folded model through torch.compile, with its weights frozen into the generated code."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.backends.base import CPU, DTYPES, Backend, Runner, Wanted, example, in_batches
from allmlp.engine.backends.cuda import graphed
from allmlp.engine.device import exact_products
from allmlp.engine.gpu.kit import has_triton
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold

OPTIONS: dict[str, dict[str, Any]] = {
    "cpu": {"freezing": True},
    "cuda": {"freezing": True, "max_autotune": True, "coordinate_descent_tuning": True},
}
"""By type of device. On GPUs what torch calls "max-autotune", with our CUDA graphs: its own belong to one thread."""


def has_compiler() -> bool:
    """Whether there is the C++ compiler that torch.compile takes for CPUs, without which it makes no code."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX") or usual) is not None


class Inductor(Backend):
    """Needs a C++ compiler, on GPUs Triton and a C compiler; building takes a minute and more, on GPUs several."""

    name = "compile"
    devices = ("cpu", "cuda")
    seconds_to_build = False

    def refusal(self, precision: str, device: torch.device = CPU) -> EngineError | None:
        why = super().refusal(precision, device)
        if why is None and device.type == "cpu" and not has_compiler():
            why = EngineError("engine compile needs a C++ compiler", hint='install g++, or use engine "torch"')
        if why is None and device.type == "cuda" and not has_triton():
            why = EngineError("engine compile needs Triton and a C compiler", hint='install gcc, or use engine "cuda"')
        return why

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        dtype = DTYPES[wanted.precision]
        order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
        folded = fold(model).to(wanted.device, dtype)
        folded.to(memory_format=order)
        compiled = torch.compile(folded, fullgraph=True, dynamic=False, options=OPTIONS[wanted.device.type])

        def run(images: Tensor) -> Tensor:  # b c h w → b k
            with torch.no_grad():
                return compiled(images.to(dtype, memory_format=order)).float()

        if wanted.device.type == "cuda":
            with exact_products(wanted.device), torch.cuda.device(wanted.device):
                return graphed(run, model, wanted, alone=False)
        run(example(model, wanted.batch))
        return in_batches(run, wanted.batch)
