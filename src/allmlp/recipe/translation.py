"""What a run on pairs of sentences is made of."""

from dataclasses import dataclass

from allmlp.errors import RecipeError
from allmlp.recipe.bounds import within

USUAL = "resmlp-mt-multi30k"
"""The recipe where none is named."""


@dataclass(frozen=True, kw_only=True)
class Translation:
    """Which languages, and how their sentences reach the model (ResMLP, section 3.6)."""

    source: str = "en"
    """What is translated: the last part of its files' names, as in train.en."""
    target: str = "de"
    """Into what."""
    vocabulary: int = 8000
    """Pieces of the byte-pair vocabulary that both languages share."""
    longest: int = 128
    """Pieces of the longest sentence; longer pairs are left out, and longer sentences refused."""
    tokens: int = 4096
    """Pieces of a step's longer side, padding counted, over all processes."""

    def __post_init__(self) -> None:
        within(self, "vocabulary", least=8)
        for name in ("longest", "tokens"):
            within(self, name, least=2)
        if self.source == self.target or not all(name.strip(".") and "/" not in name for name in (self.source, self.target)):
            raise RecipeError(
                f"translation from {self.source!r} into {self.target!r}", hint="name two languages as their files end: en, de"
            )
