"""What a training run is made of: frozen dataclasses ↔ TOML."""

from allmlp.recipe.dino import Dino
from allmlp.recipe.reading import MOST_BYTES, RENAMED, current, load_recipe, packaged_recipes, recipe_from
from allmlp.recipe.tables import Augment, Data, Distill, Optim, Recipe, Train
from allmlp.recipe.translation import Translation

__all__ = [
    "MOST_BYTES",
    "RENAMED",
    "Augment",
    "Data",
    "Dino",
    "Distill",
    "Optim",
    "Recipe",
    "Train",
    "Translation",
    "current",
    "load_recipe",
    "packaged_recipes",
    "recipe_from",
]
