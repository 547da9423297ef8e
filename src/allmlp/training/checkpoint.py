"""Everything a run needs to go on as if it had never stopped."""

import os
import pickle
from dataclasses import asdict, dataclass
from typing import Any

import torch

from allmlp.errors import RunError
from allmlp.run import Run, whole_file


@dataclass
class Position:
    """How far a run is. All random numbers follow from the seed and these counts, so no generator is saved."""

    epoch: int = 0
    """Whole epochs done."""
    step: int = 0
    """Steps done inside the epoch after those."""
    seconds: float = 0.0
    """Time spent so far."""
    loss_sum: float = 0.0
    """Over the images of the epoch so far."""
    hits: int = 0
    """Unmixed training images of the epoch so far that were right."""
    judged: int = 0
    """Training images of the epoch so far that `hits` is out of."""
    seen: int = 0
    """Training images of the epoch so far."""
    unreadable: int = 0
    """Images of the epoch so far that could not be decoded."""
    best_epoch: int = 0
    best_top1: float = -1.0
    best_loss: float = float("inf")
    best_weights: str = "raw"
    """"raw" or "ema"."""

    def begin_epoch(self) -> None:
        self.epoch += 1
        self.step = self.hits = self.judged = self.seen = self.unreadable = 0
        self.loss_sum = 0.0


def save(run: Run, position: Position, parts: dict[str, Any]) -> None:
    """Write the checkpoint, whole or not at all. Raises RunError when the disk is full or read-only."""
    try:
        with whole_file(run.checkpoint) as temporary:
            torch.save({"position": asdict(position), **{k: v.state_dict() for k, v in parts.items()}}, temporary)
    except (RunError, RuntimeError) as error:
        why = error.what if isinstance(error, RunError) else f"{run.checkpoint} cannot be written: {str(error).splitlines()[0]}"
        raise RunError(
            why,
            mend=f"make room on the disk, then allmlp train --resume {run.folder}; the checkpoint before is intact",
        ) from None


def load(run: Run, parts: dict[str, Any]) -> Position:
    """Put a checkpoint back into the parts it was saved from. Raises RunError when it is missing or damaged."""
    if not run.checkpoint.is_file():
        raise RunError(f"{run.folder} has no checkpoint", mend="it stopped before its first; train again into another folder")
    try:
        content = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(content[name])
        return Position(**content["position"])
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise RunError(
            f"{os.fspath(run.checkpoint)} cannot be used: {(str(error).splitlines() or ['damaged'])[0][:200]}",
            mend="the weights in best.safetensors and last.safetensors still load; train again from the recipe to go on",
        ) from None
