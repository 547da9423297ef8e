"""What many tests share that is no fixture."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from allmlp.models import create_model

PictureFolder = Callable[..., Path]


def picture(number: int, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Image.Image:
    """Noise that no other number gives; size is (width, height)."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def attempt(kind: type[Exception], action: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """(what the action gave, None), or (None, its error of this kind); any other error is the test's failure."""
    try:
        return action(*arguments), None
    except kind as error:
        return None, error


@lru_cache(maxsize=128)
def meta_state(name: str, **hyperparameters: Any) -> dict[str, Tensor]:
    """Names and shapes of a variant's tensors, without numbers."""
    with torch.device("meta"):
        return create_model(name, **hyperparameters).state_dict()
