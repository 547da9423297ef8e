"""What every way of running a model looks like from outside."""

# axes: b images, c channels, h w pixels, k classes

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from allmlp.errors import EngineError
from allmlp.models.base import ImageModel

Runner = Callable[[Tensor], Tensor]
"""b c h w → b k: logits in float32, or features where the model has no classes; any number of images but none."""

CPU = torch.device("cpu")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What an engine is built for."""

    precision: str
    """A key of DTYPES, or "int8"."""
    batch: int
    """Images there usually are at once."""
    threads: int
    device: torch.device = CPU
    setting: Tensor | None = None  # b c h w
    """Images that set the ranges of int8."""


class Backend(ABC):
    """One way of running a model in evaluation mode."""

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    """Types of devices it runs on."""
    precisions: ClassVar[tuple[str, ...]] = tuple(DTYPES)
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be installed besides allmlp; the extra that brings it has the backend's name."""
    file: ClassVar[str | None] = None
    """What `build` leaves in its folder, and next time starts from."""
    seconds_to_build: ClassVar[bool] = True
    """Whether building takes seconds, so that "auto" may try; otherwise it takes minutes."""

    def refusal(self, precision: str, device: torch.device = CPU) -> EngineError | None:
        """Why it cannot be used here in this precision, on this device, which is there."""
        if device.type not in self.devices:
            return self._elsewhere(device)
        lacking = [module for module in self.modules if find_spec(module) is None]
        if lacking:
            return EngineError(
                f"engine {self.name} needs {' and '.join(lacking)}, which is not installed",
                hint=f'pip install "allmlp[{self.name}]", or use engine "torch"',
            )
        if precision not in self.precisions:
            offered = " or ".join(self.precisions)
            return EngineError(f"engine {self.name} does not offer {precision}", hint=f"use {offered}, or another engine")
        return None

    def _elsewhere(self, device: torch.device) -> EngineError:
        if device.type == "cuda":
            return EngineError(
                f"engine {self.name} is for CPUs, and answers come from {device} here", hint='use engine "cuda", or "eager"'
            )
        return EngineError(
            f"engine {self.name} is for GPUs, and answers come from {device} here",
            hint='use engine "torch"; where there is a GPU, device="cuda"',
        )

    @abstractmethod
    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        """Something that runs the model, which stays as it is, on images that are on the wanted device already, and answers
        there. folder: where `file` is found, or is left."""


def in_batches(run: Runner, batch: int) -> Runner:
    """For backends that are made for one number of images: as many calls as it takes, the last one filled up with black."""

    def runner(images: Tensor) -> Tensor:  # b c h w → b k
        parts = []
        for chunk in images.split(batch):
            lacking = batch - len(chunk)
            whole = torch.cat([chunk, chunk.new_zeros(lacking, *chunk.shape[1:])]) if lacking else chunk
            parts.append(run(whole.contiguous())[: len(chunk)])
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    return runner


def example(model: ImageModel, batch: int) -> Tensor:  # → b c h w
    """Images of the right shape, for tracing."""
    return torch.zeros(batch, model.in_chans, *model.img_size)
