"""allmlp recipes"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from allmlp.commands.words import parse, print_table
from allmlp.errors import RecipeError, one_of
from allmlp.recipe import packaged_recipes


@dataclass(frozen=True, kw_only=True)
class Words:
    """List the recipes that come with allmlp, or print one."""

    name: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")] = None
    """Print this one, as a start for your own."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="recipes")
    known = packaged_recipes()
    if given.name is not None:
        if given.name not in known:
            raise RecipeError(f"no recipe is named {given.name!r}", hint=one_of(known, given.name))
        print(known[given.name].read_text(encoding="utf-8"), end="")
        return 0
    print_table(
        ("recipe", "what it is"),
        [(name, path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")) for name, path in known.items()],
    )
    return 0
