"""What many tests need: small folders of pictures, and quiet processors."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from helpers import PictureFolder, picture

settings.register_profile("allmlp", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("allmlp")
torch.set_num_threads(1)


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
