"""All there is to say about a model, collected for the page and for programs."""

import os

from dataclasses import asdict, dataclass
from typing import Any

from allmlp.errors import ModelError
from allmlp.explanation.numbers import MixingNumbers, mixing_numbers
from allmlp.explanation.operators import Mixing, token_mixing
from allmlp.explanation.pruning import IMAGES, Pruned, least_kept, prune_curve
from allmlp.models.base import ImageModel


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What was found, before it is drawn."""

    model: ImageModel
    mixings: list[Mixing]
    without: str | None
    """Why there are no token-mixing matrices, if there are none."""
    numbers: list[MixingNumbers]
    pruned: list[Pruned]
    """Nothing unless it was asked for."""

    def record(self) -> dict[str, Any]:
        """All numbers, for JSON."""
        model = self.model
        return {
            "model": {"name": model.name, "family": model.family, "img_size": list(model.img_size)},
            "token_mixing": [asdict(row) for row in self.numbers],
            "no_token_mixing": self.without,
            "pruning": [asdict(row) for row in self.pruned],
            "least_kept": least_kept(self.pruned) if self.pruned else None,
        }


def explained(
    model: ImageModel,
    *,
    prune: str | os.PathLike[str] | None = None,
    prune_images: int = IMAGES,
    quiet: bool = False,
) -> Explanation:
    """Look into a model. prune: labelled images to measure it on with ever fewer token-mixing weights.

    Raises ModelError for pruning a model without token-mixing matrices; without pruning, their absence is part of the answer.
    """
    mixings, without = _mixings(model)
    if prune is not None and without is not None:
        raise ModelError(f"nothing can be pruned: {without}", mend="leave --prune out")
    curve = prune_curve(model, prune, limit=prune_images, quiet=quiet) if prune is not None else []
    return Explanation(
        model=model,
        mixings=mixings,
        without=without,
        numbers=[mixing_numbers(mixing) for mixing in mixings],
        pruned=curve,
    )


def _mixings(model: ImageModel) -> tuple[list[Mixing], str | None]:
    try:
        return token_mixing(model), None
    except ModelError as error:
        return [], error.what
