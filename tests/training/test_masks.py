"""Zeros stay zeros: after every step, in every kept weight, and after a resumption to the last bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import allmlp
from allmlp.errors import RecipeError, RunError
from allmlp.models import create_model
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, write_model
from allmlp.surgery.magnitude import kept
from allmlp.training.masks import SUFFIX, beside, write_masks
from helpers import interrupt_after, same_weights

MADE = dict(dim=16, depth=2, patch_size=4, img_size=(16, 16), in_chans=1, num_classes=2)


@pytest.fixture
def sparse(tmp_path: Path) -> Path:
    """Weights with masks beside them, which keep half of the token-mixing weights."""
    torch.manual_seed(0)
    model = create_model("resmlp", **MADE)
    model.classes = ("across", "down")
    masks = kept({f"blocks.{i}.token_mix.weight": model.blocks[i].token_mix.weight.detach() for i in range(2)}, 0.5)
    with torch.no_grad():
        for name, mask in masks.items():
            model.get_parameter(name).mul_(mask)
    path = tmp_path / "sparse.safetensors"
    write_model(path, model.state_dict(), model.card())
    write_masks(path.with_suffix(SUFFIX), masks)
    return path


def recipe_of(small_recipe: Callable[..., Recipe], sparse: Path, **train: object) -> Recipe:
    return small_recipe(hyper={}, init=str(sparse), train={"ema": 0.9, "save_steps": 1, **train})


@pytest.mark.parametrize("steps", [2, 5])
def test_zeros_hold_and_a_resumed_run_is_an_undisturbed_one(
    steps: int,
    sparse: Path,
    stripes: Path,
    small_recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = recipe_of(small_recipe, sparse)
    whole = allmlp.train(stripes, recipe=recipe, out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        cut = allmlp.train(stripes, recipe=recipe, out=tmp_path / "cut", quiet=True)
    assert read_json(cut.state)["state"] == "stopped"
    sparse.with_suffix(SUFFIX).unlink()  # the run has its own
    allmlp.resume(cut.folder, quiet=True)
    assert all(same_weights(whole, cut, which) for which in ("best", "last"))
    began, masks = load_file(sparse), load_file(whole.masks)
    for which in ("best", "last"):
        for name, mask in masks.items():
            weight = load_file(whole.weights(which))[name]
            assert not weight[~mask].any()
            assert not torch.equal(weight, began[name])
            assert int(weight.count_nonzero()) == mask.sum()


def test_without_masks_the_zeros_are_trained(
    sparse: Path, stripes: Path, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    sparse.with_suffix(SUFFIX).unlink()
    run = allmlp.train(stripes, recipe=recipe_of(small_recipe, sparse, epochs=2), out=tmp_path / "run", quiet=True)
    assert load_file(run.weights())["blocks.0.token_mix.weight"].all()
    assert not run.masks.exists()


def test_masks_that_do_not_fit_are_refused(
    sparse: Path, stripes: Path, small_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = recipe_of(small_recipe, sparse, epochs=2, sizes=((8, 8, 0.5),))
    with pytest.raises(RecipeError, match="sparse models keep their image size"):
        allmlp.train(stripes, recipe=recipe, out=tmp_path / "sizes", quiet=True)
    write_masks(sparse.with_suffix(SUFFIX), {"blocks.0.token_mix.weight": torch.ones(3, 3, dtype=torch.bool)})
    with pytest.raises(RunError, match=r"of another model: blocks\.0\.token_mix\.weight does not fit"):
        allmlp.train(stripes, recipe=recipe_of(small_recipe, sparse), out=tmp_path / "other", quiet=True)
    assert not Run(tmp_path / "other").recipe.exists()


def test_only_a_file_has_masks_beside_it(tmp_path: Path) -> None:
    assert beside(None) is None
    assert beside("smlpnet_xs.cifar10") is None
    assert beside(str(tmp_path)) is None
