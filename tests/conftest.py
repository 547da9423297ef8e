"""What many tests need: small folders of pictures and sentences, a task learnt in seconds and its recipe, quiet processors."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from allmlp.recipe import Recipe, recipe_from
from helpers import PictureFolder, picture
from languages import write_text

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


@pytest.fixture(scope="session")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of noisy 16 × 16 pictures: horizontal against vertical stripes, 24 of each."""
    folder = tmp_path_factory.mktemp("stripes")
    generator = np.random.default_rng(0)
    for name, axis in (("across", 0), ("down", 1)):
        (folder / name).mkdir()
        for i in range(24):
            phase = generator.integers(4)
            wave = 60 * (-1.0) ** ((np.arange(16) + phase) // 2)
            pixels = 128 + np.expand_dims(wave, 1 - axis) + generator.normal(0, 10, (16, 16))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def small_recipe() -> Callable[..., Recipe]:
    """Seconds of training; keyword groups change it."""

    def make(**groups: dict[str, object]) -> Recipe:
        table: dict[str, dict[str, object] | str] = {
            "model": "resmlp",
            "hyper": {"dim": 16, "depth": 2, "patch_size": 4},
            "data": {"img_size": [16, 16], "in_chans": 1, "workers": 0, "val_share": 0.25},
            "augment": {"crop": "pad", "padding": 1},
            "optim": {"lr": 0.01, "lr_batch": 8, "warmup": 1.0},
            "train": {"epochs": 3, "batch": 8, "precision": "fp32"},
        }
        for key, values in groups.items():
            base = table.get(key)
            table[key] = {**base, **values} if isinstance(base, dict) and isinstance(values, dict) else values
        return recipe_from(table)

    return make


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of a language that is learnt in seconds, and their translations: train, val and test of aa and bb."""
    return write_text(tmp_path_factory.mktemp("text"))
