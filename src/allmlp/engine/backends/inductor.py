"""The folded model through torch.compile, with its weights frozen into the generated code."""

import os
import shutil
import sys
from pathlib import Path

import torch
from torch import Tensor

from allmlp.engine.backends.base import DTYPES, Backend, Runner, Wanted, example, in_batches
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold


def has_compiler() -> bool:
    """Whether there is the C++ compiler that torch.compile takes, without which it makes no code."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return shutil.which(os.environ.get("CXX") or usual) is not None


class Inductor(Backend):
    """Needs a C++ compiler; building takes a minute and more."""

    name = "compile"
    seconds_to_build = False

    def refusal(self, precision: str) -> EngineError | None:
        why = super().refusal(precision)
        if why is None and not has_compiler():
            why = EngineError("engine compile needs a C++ compiler", mend='install g++, or use engine "torch"')
        return why

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        dtype = DTYPES[wanted.precision]
        order = torch.channels_last if model.CHANNELS_LAST else torch.contiguous_format
        folded = fold(model).to(dtype)
        folded.to(memory_format=order)
        compiled = torch.compile(folded, fullgraph=True, dynamic=False, options={"freezing": True})

        def run(images: Tensor) -> Tensor:  # b c h w → b k
            with torch.no_grad():
                return compiled(images.to(dtype, memory_format=order)).float()

        run(example(model, wanted.batch))
        return in_batches(run, wanted.batch)
