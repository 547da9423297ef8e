"""The words that stand for a recipe, of every command that trains: a file or a name first, single values over it."""

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Literal, TypeVar

import tyro

from allmlp.commands.words import pair, parse, say, split_hyper
from allmlp.recipe import RENAMED, Augment, Data, Distill, Optim, Recipe, Train, load_recipe

Words = TypeVar("Words")
"""A dataclass with the words of one command."""

SAME = ("model", "init", "freeze", "seed", "data", "augment", "optim", "train", "distill", "dino", "translation")
"""Words that are fields of a recipe, as far as a command has them."""


OLD = {f"--{old}": f"--{new}".replace("_", "-") for old, new in RENAMED.items()}
"""Options as earlier versions called them, which still work."""


@dataclass(frozen=True, kw_only=True)
class SharedWords:
    """What every training needs."""

    recipe: Annotated[str | None, tyro.conf.arg(metavar="NAME_OR_FILE")] = None
    """A file, or the name of a recipe that comes with allmlp (see allmlp recipes)."""
    model: str = Recipe.model
    """A name from allmlp models."""
    init: Annotated[str | None, tyro.conf.arg(metavar="RUN_OR_MODEL")] = None
    """Start from this model and its weights, resized to the images and with a new head for new classes: a run, a file of
    allmlp's own, or a released checkpoint by name."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Height and width of the model's input in pixels, one number for both; short for --data.img_size."""
    seed: int = Recipe.seed
    """Decides the split, the initial weights, and every random change."""
    data: Data = field(default_factory=Data)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)


@dataclass(frozen=True, kw_only=True)
class RecipeWords(SharedWords):
    """Every value of a recipe that learns labels."""

    freeze: Literal["none", "backbone", "all-but-norms"] = "none"
    """What of --init stays as it is: all but the head (backbone), or all but the head and the norms, Affine among them."""
    teacher: Annotated[str | None, tyro.conf.arg(metavar="NAME_OR_RUN")] = None
    """Learn from this teacher's answers too: a name of timm's, or a run; short for --distill.teacher."""
    augment: Augment = field(default_factory=Augment)
    distill: Distill = field(default_factory=Distill)


def recipe_and_words(
    kind: type[Words], words: list[str], *, command: str, usual: Recipe | None = None
) -> tuple[Recipe, Words, list[str]]:
    """(the recipe that the words make, all that was said, the words that tyro read). usual: the recipe where none is named.

    Raises RecipeError.
    """
    words, hyper = split_hyper([word.removeprefix("--data=") for word in words if word != "--data"])  # --data X is X
    words = [_todays(word) for word in words]
    source = _value_of(words, "--recipe")
    same = [each.name for each in fields(kind) if each.name in SAME]  # type: ignore[arg-type]
    base = load_recipe(source) if source is not None else usual or Recipe()
    if "dino" in same:
        base.without_labels()
    if "translation" in same:
        base.of_sentences()
    if (teacher := _value_of(words, "--teacher")) is not None:  # before the other words of distill, which need one
        base = replace(base, distill=replace(base.distill, teacher=teacher))
    default = kind(**{name: value for name in same if (value := getattr(base, name)) is not None})
    given = parse(kind, words, command=command, default=default)
    values = {name: getattr(given, name) for name in same}
    if (img_size := getattr(given, "img_size", None)) is not None:
        values["data"] = replace(values["data"], img_size=pair(img_size))
    recipe = replace(base, **values, hyper={**({} if values["model"] != base.model else base.hyper), **hyper})
    return recipe, given, [*words, *(f"--hyper.{name}" for name in hyper)]


def _todays(word: str) -> str:
    """An option by its name of today, and a line that tells it where an earlier version's was given."""
    option, equals, value = word.partition("=")
    new = OLD.get(option)
    if new is None:
        return word
    say(f"{option} is called {new} now")
    return f"{new}{equals}{value}"


def _value_of(words: list[str], option: str) -> str | None:
    """Of an option that is needed before the other words can be read: it sets their defaults."""
    for place, word in enumerate(words):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and place + 1 < len(words):
            return words[place + 1]
    return None
