"""A small model with classes, its weights in a file, nine pictures, and `allmlp.export` of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import allmlp
from allmlp.models.base import ImageModel
from allmlp.run import write_model
from contract import awake, build
from helpers import PictureFolder


@pytest.fixture
def model() -> ImageModel:
    made = awake(build("resmlp_s12", img_size=(16, 12))).eval()
    made.classes = ("ant", "bee", "cat", "dog", "elk")
    return made


@pytest.fixture
def weights(model: ImageModel, tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    write_model(path, model.state_dict(), model.card())
    return path


@pytest.fixture
def shown(picture_folder: PictureFolder) -> Path:
    return picture_folder({"some": 9})


@pytest.fixture
def export(weights: Path, shown: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    return lambda **words: allmlp.export(weights, **{"data": shown, "out": tmp_path / "bundle", **words})
