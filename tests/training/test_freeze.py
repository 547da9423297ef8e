"""What is frozen stays to the bit, what is not learns, and lower blocks learn at lower rates."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.models import group_parameters

import allmlp
from allmlp.cli import main
from allmlp.errors import RecipeError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.recipe import Optim, Recipe, load_recipe
from allmlp.registry import families
from allmlp.run import Run, read_json
from allmlp.training.freeze import freeze, learning
from allmlp.training.optim import optimiser, peak
from contract import build
from helpers import interrupt_after, same_weights


@pytest.fixture(scope="module")
def trained(stripes: Path, small_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    out = tmp_path_factory.mktemp("trained")
    smlpnet = {"model": "smlpnet_xs", "hyper": {"dim": 8, "depths": (1, 1), "patch_size": 2}, "train": {"epochs": 1}}
    made = {"resmlp": small_recipe(train={"epochs": 1}), "smlpnet": replace(small_recipe(**smlpnet), hyper=smlpnet["hyper"])}
    return {name: allmlp.train(stripes, recipe=recipe, out=out / name, quiet=True) for name, recipe in made.items()}


def onward(recipe: Recipe, start: Run, which: str) -> Recipe:
    return replace(recipe, model=Recipe.model, hyper={}, init=str(start.folder), freeze=which)  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["resmlp", "smlpnet"])
@pytest.mark.parametrize("which", ["backbone", "all-but-norms"])
def test_only_what_may_learn_changes(
    family: str, which: str, trained: dict[str, Run], stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    before = allmlp.load(trained[family])
    recipe = onward(small_recipe(train={"epochs": 2}), trained[family], which)
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert load_recipe(run.recipe).freeze == which
    after = allmlp.load(run, which="last").state_dict()
    changed = {name for name, value in before.state_dict().items() if not torch.equal(value, after[name])}
    learns = {name for name, parameter in frozen(before, which).named_parameters() if parameter.requires_grad}
    statistics = {name for name, _ in before.named_buffers() if "running" in name or "tracked" in name}
    assert {"head.weight", "head.bias"} <= changed
    assert learns <= changed | {name for name in learns if name.endswith("bias")}  # a bias may have no gradient here
    assert changed <= (learns | statistics if which == "all-but-norms" else {"head.weight", "head.bias"})


def frozen(model: ImageModel, which: str) -> ImageModel:
    freeze(model, which)
    return model


def test_batch_norms_that_stay_keep_their_statistics() -> None:
    model = frozen(build("smlpnet_b"), "backbone")
    norms = [part for part in learning(model).modules() if isinstance(part, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(norm.training for norm in norms)
    assert model.head.training
    model = frozen(build("smlpnet_b"), "all-but-norms")
    assert all(part.training for part in learning(model).modules() if isinstance(part, torch.nn.BatchNorm2d))


def test_a_frozen_run_resumed_is_bit_identical(
    trained: dict[str, Run], stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = onward(
        small_recipe(train={"epochs": 2, "ema": 0.9}, optim={"layer_decay": 0.7}), trained["resmlp"], "all-but-norms"
    )
    undisturbed = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 5)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    assert read_json(stopped.state)["state"] == "stopped"
    assert same_weights(undisturbed, allmlp.resume(stopped.folder, quiet=True))


@pytest.mark.parametrize("family", [family.name for family in families()])
def test_depth_grows_from_the_patches_to_the_head(family: str) -> None:
    name = next(name for name in allmlp.list_models() if create_meta(name).family == family)
    model = create_meta(name)
    ids = group_parameters(model, model.group_matcher(), reverse=True)
    assert ids.keys() == {name for name, _ in model.named_parameters()}
    assert min(ids.values()) == 0
    assert ids["head.weight"] == max(ids.values()) == ids["head.bias"]
    for number, part in enumerate(getattr(model, "stages", (model,))):
        prefix = f"stages.{number}." if hasattr(model, "stages") else ""
        depths = [{ids[n] for n in ids if n.startswith(f"{prefix}blocks.{i}.")} for i in range(len(part.blocks))]
        flat = [found.pop() for found in depths if len(found) == 1]
        assert len(flat) == len(depths)
        assert flat == sorted(set(flat))


def create_meta(name: str) -> ImageModel:
    with torch.device("meta"):
        return create_model(name)


def test_rates_by_hand() -> None:
    model = create_model("resmlp", dim=8, depth=3, patch_size=4, img_size=8, num_classes=2)
    made = optimiser(model, Optim(lr=1.0, lr_batch=8, layer_decay=0.5), batch=8)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {names[id(p)]: group["lr_scale"] for group in made.param_groups for p in group["params"]}
    assert {s for n, s in scales.items() if n.startswith(("norm", "head"))} == {1}
    for block, scale in enumerate((1 / 8, 1 / 4, 1 / 2)):
        assert {s for n, s in scales.items() if n.startswith(f"blocks.{block}.")} == {scale}
    assert {s for n, s in scales.items() if n.startswith("patches")} == {1 / 16}
    assert peak(made) == max(group["lr"] for group in made.param_groups)


def test_freezing_what_never_learnt_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing was learnt yet"):
        Recipe(freeze="backbone")
    assert main(["train", "--freeze", "backbone", "--out", str(tmp_path / "run")]) == 2
    assert "give a trained model as init" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
