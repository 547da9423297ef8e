"""Training that starts from a trained model: its architecture and weights, for another size and other classes."""

from dataclasses import replace
from typing import Any

from allmlp.data.images import Source
from allmlp.engine.load import load
from allmlp.errors import ModelError, RecipeError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.recipe import Recipe
from allmlp.surgery.resize import resize

DECIDED = ("num_classes", "in_chans", "img_size")
"""Hyper-parameters that stand elsewhere in a recipe, or follow from the images."""


def start_from(recipe: Recipe, source: Source) -> tuple[Recipe, ImageModel]:
    """The model of `recipe.init` for these images, and the recipe with its architecture written out.

    The size stays what the model was trained for unless the recipe names one; the head stays where the classes are the
    same. Raises RecipeError for a recipe that names another architecture, channels or shapes than the model has.
    """
    given = load(recipe.init or "")
    if recipe.model not in (Recipe.model, given.name):
        raise RecipeError(
            f"{recipe.init} is a {given.name}, the recipe says {recipe.model}",
            hint="leave the model away, or start from another",
        )
    if recipe.data.in_chans not in (None, given.in_chans):
        raise RecipeError(
            f"{recipe.init} takes {given.in_chans} channels, the recipe says {recipe.data.in_chans}",
            hint="leave data.in_chans away: pictures are converted",
        )
    model = _with(given, recipe.hyper, str(recipe.init))
    if recipe.data.img_size is not None and recipe.data.img_size != model.img_size:
        model = resize(model, recipe.data.img_size)
    if model.classes != source.classes:
        model.reset_classifier(len(source.classes))
    hyper = {key: value for key, value in model.hyperparameters.items() if key not in DECIDED}
    data = replace(recipe.data, img_size=model.img_size, in_chans=model.in_chans)
    return replace(recipe, model=model.name, hyper=hyper, data=data), model


def _with(model: ImageModel, hyper: dict[str, Any], init: str) -> ImageModel:
    """The same weights under other hyper-parameters that shape none of them, such as drop_path."""
    if not hyper:
        return model
    changed = create_model(model.name, **{**model.hyperparameters, **hyper})
    try:
        changed.load_state_dict(model.state_dict())
    except RuntimeError:
        raise ModelError(
            f"{', '.join(hyper)} would change the shape of {init}", hint="give only values such as drop_path with --init"
        ) from None
    changed.classes, changed.preprocessing = model.classes, model.preprocessing
    return changed
