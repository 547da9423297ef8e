"""What of a recipe follows from the images: channels, and the values that become 0 and 255."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from allmlp.data.images import Look, Source
from allmlp.pixels.reading import Reading
from allmlp.recipe import Data, Recipe


def looked_at(source: Source, recipe: Recipe, look: Look | None) -> Source:
    """The source with what was found; of one channel where its images are grey and nothing asks for three."""
    if look is None:
        return source
    return replace(source, look=look, in_chans=1 if look.grey and not why_three(recipe) else source.in_chans)


def why_three(recipe: Recipe) -> str:
    """Who decides on the channels of grey images; empty where the images do."""
    for name in ("mean", "std"):
        if len(getattr(recipe.data, name) or ()) == 3:
            return f"data.{name} has three values"
    if recipe.init is not None:
        return "the model to start from decides"
    return "" if recipe.data.in_chans is None else f"data.in_chans is {recipe.data.in_chans}"


def reading_of(data: Data, source: Source) -> Reading:
    """How the images of a run are decoded, as far as they and the recipe decide."""
    found = None if source.look is None else source.look.value_range
    return Reading(data.in_chans or source.in_chans, data.range or found, data.page)


def with_findings(recipe: Recipe, source: Source) -> Recipe:
    """The recipe with what was left to the images written out."""
    if source.look is None:
        return recipe
    reading = reading_of(recipe.data, source)
    return replace(recipe, data=replace(recipe.data, in_chans=reading.in_chans, range=reading.value_range))


def findings(recipe: Recipe, source: Source, in_chans: int) -> Iterator[str]:
    """Lines for people, about grey and deep images. recipe: before anything was written out; in_chans: the model's."""
    look = source.look
    if look is None:
        return
    if look.grey and in_chans == 1:
        yield f"         grey images: one channel{_asked(recipe)}"
    elif look.grey:
        yield f"         grey images take {in_chans} channels, since {why_three(recipe)}"
    if look.deep:
        low, high = reading_of(recipe.data, source).value_range or (None, None)
        which = "as data.range says" if recipe.data.range else f"as {look.deep:,} of {look.images:,} training images have them"
        became = (
            "by each image's own values" if low is None or high is None else f"values {low:,.6g} … {high:,.6g} become 0 … 255"
        )
        yield f"         deep images: {became}{'' if low is None else f', {which}'}"
    elif recipe.data.range is not None:
        yield "         data.range is for deep images, of which there seem to be none"


def _asked(recipe: Recipe) -> str:
    return "" if not why_three(recipe) else f", since {why_three(recipe)}"


def described(recipe: Recipe, source: Source) -> dict[str, Any]:
    """For data.json."""
    look = source.look
    if look is None:
        return {"deep": None}
    value_range = reading_of(recipe.data, source).value_range if look.deep else None
    return {"deep": {"looked": look.images, "deep": look.deep, "grey": look.grey, "range": value_range and list(value_range)}}
