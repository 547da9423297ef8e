"""allmlp find-lr"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from allmlp.commands.recipe_words import RecipeWords, recipe_and_words
from allmlp.commands.words import print_json, say


@dataclass(frozen=True, kw_only=True)
class Words(RecipeWords):
    """Find a learning rate: train for some steps while the rate grows, and look where the loss falls fastest.

    DATA and all values of the recipe are those of allmlp train. Rates are values of optim.lr, which are meant for
    optim.lr_batch images per step. Nothing is kept of the weights. It takes as long as that many steps of training.
    """

    data_folder: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder, or the name of a data set."""
    low: float = 1e-6
    """The first rate."""
    high: float = 1.0
    """The last rate, unless the loss leaves all bounds before."""
    steps: int = 100
    """How many rates are tried, a batch each."""
    rule: Literal["steepest", "tenth"] = "steepest"
    """Suggest the rate at which the loss falls fastest, or a tenth of the one at which it is least."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("find-lr.svg")
    """The curve, a .svg or .png file; a .json file of the same name has all numbers."""
    quiet: bool = False
    """Show nothing meanwhile."""
    json: bool = False
    """Print what was found as JSON on stdout."""


def main(words: list[str]) -> int:
    recipe, given, _ = recipe_and_words(Words, words, command="find-lr")
    from allmlp.reporting.ink import check_figure_file, write_figure
    from allmlp.reporting.rates import rate_curve
    from allmlp.run import write_json
    from allmlp.training.finding.rates import find_rate

    check_figure_file(given.out)
    found = find_rate(
        given.data_folder, recipe, low=given.low, high=given.high, steps=given.steps, rule=given.rule, quiet=given.quiet
    )
    written = given.out.with_suffix(".json")
    write_json(written, asdict(found))
    write_figure(rate_curve(found, title=f"{recipe.model}: loss against learning rate"), given.out)
    if given.json:
        print_json(asdict(found))
    if not given.quiet:
        end = f"the loss left all bounds at {found.rates[-1]:.2g}" if found.diverged else f"tried up to {found.rates[-1]:.2g}"
        say(f"the loss falls fastest at {found.steepest:.2g} and is least at {found.least:.2g}; {end}")
        say(f"{given.out} shows the curve, {written} has the numbers\n\nnext:")
        say(f"  --optim.lr {found.suggested:.2g}   at {found.batch} images per step (optim.lr-batch {recipe.optim.lr_batch})")
    return 0
