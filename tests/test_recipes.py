"""Every packaged recipe is complete, says what it is, and trains."""

from dataclasses import replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allmlp.data.images import ArrayImages, Source
from allmlp.data.vision import SETS
from allmlp.models import create_model
from allmlp.recipe import Recipe, load_recipe, packaged_recipes
from allmlp.registry import family_of
from allmlp.released.table import released
from allmlp.training.distributed import Team
from allmlp.training.setup import make_plan
from allmlp.training.step import update
from allmlp.translation.setup import make_plan as text_plan
from allmlp.translation.setup import text_of, vocabulary_of

RECIPES = packaged_recipes()
OURS = {
    "demo": (28, 28),
    "fashion-mnist": (28, 28),
    "smlpnet-cifar10": (32, 32),
    "resmlp-cifar10": (32, 32),
    "resmlp-cifar10-distilled": (32, 32),
    "smlpnet-caltech101": (200, 300),
    "smlpnet-caltech101-distilled": (200, 300),
}
"""Those whose result was measured with this code → height, width of their data's images."""
MEASURED = {*OURS, "resmlp-mt-multi30k", "dino-smlpnet-cifar10"}
UNMEASURED = {"dino-resmlp-cifar10"}
"""Ready to be measured; nobody has published such a result."""
LARGE = 70_000_000
"""Parameters, from which on a model's steps take gigabytes and minutes."""
PLACEHOLDERS = ("FOLDER", "IMAGENET", "IMAGENET21K", "JFT", "WMT14")
OF_TEXT = [name for name in RECIPES if name.partition("-mt-")[1]]
OF_IMAGES = [name for name in RECIPES if name not in OF_TEXT]
every_recipe = pytest.mark.parametrize("name", RECIPES)
every_recipe_of_images = pytest.mark.parametrize("name", OF_IMAGES)


@lru_cache
def parsed(name: str) -> Recipe:
    return load_recipe(name)


@every_recipe
def test_recipe_has_a_header_and_fits_on_a_page(name: str) -> None:
    lines = RECIPES[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    header = {line[2:].partition(":")[0]: line for line in lines if line.startswith("# ")}
    assert {"command", "hardware", "time", "result"} <= header.keys()
    assert f"--recipe {name}" in header["command"]
    assert lines[0].endswith(".")
    measured, published = (
        "measured here" in header["result"].replace("not measured here", ""),
        "published" in header["result"],
    )
    assert (measured, published) == (name in MEASURED, name not in {*MEASURED, *UNMEASURED})
    assert ("not measured here" in header["time"]) == (name not in MEASURED)


@every_recipe
def test_recipes_command_names_data_that_can_be_had(name: str) -> None:
    """A set by its name, or a folder of one's own in capitals."""
    command = RECIPES[name].read_text(encoding="utf-8").splitlines()[1]
    recipe = parsed(name)
    verb = "translate train" if recipe.translation else "pretrain" if recipe.dino else "train"
    data = command.partition(f"allmlp {verb} ")[2].split()[0]
    known = {"fashion-mnist", *PLACEHOLDERS, *(f"torchvision:{each}" for each in SETS)}
    assert data in known or (name == "demo" and data == "--recipe")


def test_recipes_that_start_from_released_weights_name_ones_of_their_model() -> None:
    found = {recipe.init: recipe.model for recipe in map(parsed, RECIPES) if recipe.init is not None}
    assert len(found) >= 6
    assert {init: released()[init].model for init in found} == found


FROM_SCRATCH = [name for name in OF_IMAGES if name.replace("-", "_") in family_of(parsed(name).model).published]
"""Recipes named as the variants whose published accuracy they reach."""


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_recipe_quotes_the_accuracy_that_its_model_is_published_with(name: str) -> None:
    recipe, header = parsed(name), RECIPES[name].read_text(encoding="utf-8")
    assert recipe.model == name.replace("-", "_")
    top1 = family_of(recipe.model).published[recipe.model]
    assert any(f"result:   {text} % on ImageNet-1k" in header for text in (f"{top1:.1f}", f"{top1:.2f}"))
    assert family_of(recipe.model).paper in header


def two_steps(name: str, hyper: dict[str, Any]) -> None:
    """On noise of the right size, through the recipe's own changes, by its own objective, optimiser and rate."""
    recipe = parsed(name)
    own = OURS.get(name)
    side = own or ((32, 32) if recipe.data.img_size == (32, 32) else (256, 288))
    shape = side if name in ("demo", "fashion-mnist") else (*side, 3)
    pixels = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    images = ArrayImages(pixels, np.arange(6) % 2, "noise")
    source = Source(
        title="noise", classes=("a", "b"), train=images, val=images, split="none", in_chans=images.in_chans, img_size=own
    )
    plan = make_plan(
        replace(
            recipe,
            hyper=recipe.hyper | hyper,
            init=None if recipe.freeze == "none" else recipe.init,  # which nobody fetches here
            data=replace(recipe.data, workers=0),
            train=replace(recipe.train, batch=2, precision="fp32", epochs=10),
            distill=replace(recipe.distill, teacher=None),
        ),
        source,
    )
    plan.model.train()
    losses = [
        float(update(plan, batch, number, mixing=True).loss) for number, batch in enumerate(islice(plan.train_batches, 2))
    ]
    assert len(losses) == 2
    assert all(np.isfinite(losses))


def shallow(model: str) -> dict[str, Any]:
    """Hyper-parameters for one block of each kind."""
    variant = family_of(model).variants.get(model, {})
    return {"depths": [1] * len(variant["depths"])} if "depths" in variant else {"depth": 1}


def kind(name: str) -> tuple[object, ...]:
    """What decides how a recipe trains, but for the size of the model."""
    recipe = parsed(name)
    optim = replace(recipe.optim, lr=1.0, weight_decay=0.1)
    return (
        family_of(recipe.model).name,
        recipe.data,
        recipe.augment,
        optim,
        recipe.train.objective,
        recipe.train.ema > 0,
        recipe.freeze,
        recipe.dino,
    )


ONE_OF_EACH = list({kind(name): name for name in reversed(OF_IMAGES)}.values())


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_recipe_takes_two_steps_with_one_block_of_each_stage(name: str) -> None:
    """One recipe of each kind; what else it says of its model is its own."""
    two_steps(name, shallow(parsed(name).model))


@pytest.mark.slow
@every_recipe_of_images
def test_recipe_takes_two_steps(name: str) -> None:
    """With the whole model where that takes less than some GB, else with one block."""
    recipe = parsed(name)
    with torch.device("meta"):
        size = {"img_size": OURS[name]} if name in OURS else {}
        count = sum(p.numel() for p in create_model(recipe.model, **size, **recipe.hyper).parameters())
    two_steps(name, {} if count < LARGE else shallow(recipe.model))


@pytest.mark.parametrize("name", OF_TEXT)
def test_recipe_of_sentences_takes_two_steps(name: str, text: Path) -> None:
    """On a few sentences, with one block, by its own objective, optimiser and rate."""
    pytest.importorskip("sentencepiece", reason="extra translate")
    recipe = parsed(name)
    assert recipe.translation is not None
    own = replace(recipe.translation, source="aa", target="bb", vocabulary=100, tokens=600)
    recipe = replace(recipe, hyper=recipe.hyper | {"depth": 1}, translation=own)
    plan = text_plan(recipe, text_of(text, recipe, vocabulary_of(text, recipe)), Team())
    plan.model.train()
    batches = islice(plan.train_batches, 2)
    losses = [float(update(plan, batch, number, mixing=True).loss) for number, batch in enumerate(batches)]
    assert len(losses) == 2
    assert all(np.isfinite(losses))
