"""The table of features: each row against another way to the same figure."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import allmlp
from allmlp.data.sources import open_source
from allmlp.recipe import Recipe
from allmlp.run import read_json

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_rows_are_what_evaluate_says_and_pixels_themselves(
    stripes: Path, small_recipe: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from features import main

    run = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    assert main([str(stripes), str(run.folder), "--json", str(tmp_path / "found.json")]) == 0
    found = read_json(tmp_path / "found.json")
    random = f"{allmlp.load(run.folder).name}, random weights"
    assert list(found) == ["pixels", random, "run"]
    said = allmlp.evaluate(run.folder, stripes, knn=True, linear=True)
    assert found["run"] == {"knn": said["knn"]["top1"]["20"], "linear": said["linear"]["top1"]}
    assert found["pixels"]["knn"] == by_hand(stripes, allmlp.load(run.folder).preprocessing.mean)
    sys.modules.pop("features")


def by_hand(folder: Path, mean: tuple[float, ...]) -> float:
    """Twenty neighbours of pixels by numpy. The pictures are of the model's size."""
    source, pixels, labels = open_source(str(folder), val_share=0.1, seed=0), {}, {}
    for part, images in (("train", source.train), ("val", source.val)):
        files = [np.asarray(Image.open(images.name(i)).convert("RGB"), float) / 255 for i in range(len(images))]
        shifted = np.stack([(file - mean).ravel() for file in files])
        pixels[part], labels[part] = shifted / np.linalg.norm(shifted, axis=1, keepdims=True), np.asarray(images.labels)
    right = 0
    for row, due in zip(pixels["val"] @ pixels["train"].T, labels["val"], strict=True):
        best = np.argsort(-row)[:20]
        votes = np.bincount(labels["train"][best], weights=np.exp(row[best] / 0.07), minlength=2)
        right += int(votes.argmax() == due)
    return right / len(labels["val"])
