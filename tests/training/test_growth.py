"""What training keeps of the token mixing: little, of every family that has any, and as it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import allmlp
from allmlp.operators import token_mixing
from allmlp.recipe import Recipe
from allmlp.reporting.growth import grown, growth
from allmlp.training.growth import MOMENTS, snapshot, wanted
from allmlp.weights.files import read_tensors
from contract import SMALL, build

FAMILIES = {build(name).family: name for name in SMALL}
WITHOUT = {"asmlp", "convmlp", "eamlp"}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_with_matrices_keeps_a_few_rows(family: str) -> None:
    kept = snapshot(build(FAMILIES[family]))
    assert bool(kept) == (family not in WITHOUT)
    assert sum(tensor.nbytes for tensor in kept.values()) < 100_000
    assert all(tensor.ndim == 2 and torch.isfinite(tensor).all() for tensor in kept.values())


def test_moments_are_the_first_the_last_and_some_between() -> None:
    assert [epoch for epoch in range(4) if wanted(epoch, 3)] == [0, 1, 2, 3]
    many = [epoch for epoch in range(301) if wanted(epoch, 300)]
    assert (many[0], many[-1], len(many)) == (0, 300, MOMENTS + 1)


def test_a_run_keeps_its_middle_rows_from_before_the_first_epoch_to_the_last(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    run = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    files = sorted(run.mixing.iterdir())
    assert [file.name for file in files] == [f"{epoch:05}.safetensors" for epoch in range(4)]
    layer = token_mixing(allmlp.load(run.folder, which="last"))[0]
    middle = layer.matrix[2 * 4 + 2].reshape(4, 4).half()
    assert torch.equal(read_tensors(files[-1])[f"{layer.name}:grid"], middle)
    rows = grown(run, last=2)
    assert [row.epochs for row in rows] == [[0, 1, 2]] * 2
    figure = growth(rows[0].epochs, rows[0].values)
    assert [text.get_text() for text in figure.texts] == ["untrained", "epoch 1", "epoch 2"]
    assert np.array_equal(rows[0].values[0], read_tensors(files[0])[f"{layer.name}:grid"].double().numpy())
