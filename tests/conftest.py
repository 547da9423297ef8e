"""What many tests need: small folders of pictures, and quiet processors."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

settings.register_profile("allmlp", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("allmlp")
torch.set_num_threads(1)

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


@pytest.fixture
def picture_folder(tmp_path: Path) -> PictureFolder:
    """picture_folder({"cat": 3, "dog": 2}) → a folder with cat/0.png … dog/1.png; keys may be "train/cat"."""

    def make(classes: Mapping[str, int], *, name: str = "pictures", suffix: str = ".png") -> Path:
        root = tmp_path / name
        number = 0
        for folder, count in classes.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                picture(number).save(root / folder / f"{i}{suffix}")
                number += 1
        return root

    return make
