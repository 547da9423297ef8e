"""allmlp find-batch"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from allmlp.commands.recipe_words import RecipeWords, recipe_and_words
from allmlp.commands.words import print_json, print_table, say

if TYPE_CHECKING:
    from allmlp.training.finding.batches import BatchSearch, Trial


WHY = {
    "memory": "",
    "most": " (larger ones may: --most)",
    "slower": " (larger ones may, but were slower: --largest)",
    "time": " (larger ones may: --minutes)",
}
"""What is said of the largest that fits, by why the search ended."""


@dataclass(frozen=True, kw_only=True)
class Words(RecipeWords):
    """Find the largest batch whose training step fits into memory, and the fastest.

    DATA and all values of the recipe are those of allmlp train; of DATA only classes, channels and size matter, and
    --classes 1000 can stand in its place. Each batch size is tried on random images in a process of its own. Peak memory
    is all that this process holds; on a GPU, all that torch has reserved there.
    """

    data_folder: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder, or the name of a data set."""
    classes: int | None = None
    """So many classes of RGB images in place of DATA."""
    memory: float | None = None
    """Budget in GB (10⁹ bytes). Default: 0.9 of the memory that is free now; on a GPU all it has."""
    most: int = 4096
    """The largest batch that is tried."""
    within: float = 0.05
    """How close to the largest that fits, as a share of it; 0: exactly."""
    seconds: float = 1.0
    """For how long each size is timed, at least."""
    minutes: float = 5.0
    """How long all of it may take, at most."""
    largest: bool = False
    """Look for the largest that fits, even where larger batches are slower. Otherwise the search ends when images per second
    have fallen twice in a row."""
    quiet: bool = False
    """Show nothing meanwhile."""
    json: bool = False
    """Print everything as JSON on stdout."""


def main(words: list[str]) -> int:
    recipe, given, _ = recipe_and_words(Words, words, command="find-batch")
    from allmlp.training.finding.batches import find_batch

    found = find_batch(
        given.data_folder,
        recipe,
        classes=given.classes,
        memory=given.memory,
        most=given.most,
        within=given.within,
        seconds=given.seconds,
        minutes=given.minutes,
        largest=given.largest,
        quiet=given.quiet,
        tell=_nothing if given.quiet else _tell,
    )
    largest, fastest = found.largest, found.fastest
    if given.json:
        print_json({**asdict(found), "capped": found.capped, "largest": largest.batch, "fastest": fastest.batch})
    else:
        _print(found)
    if not given.quiet:
        more = WHY[found.ended]
        say(f"\nlargest that fits: {largest.batch}{more}   fastest: {fastest.batch}, {fastest.images_per_s:,.0f} images/s")
        say("\nnext:")
        say(f"  --train.batch {fastest.batch}   (the learning rate follows by itself: optim.lr is meant for optim.lr-batch)")
    return 0


def _print(found: "BatchSearch") -> None:
    rows = [
        (f"{t.batch}", f"{t.peak_bytes / 1e9:.2f}", f"{t.images_per_s:,.1f}", f"{1000 * t.batch / t.images_per_s:,.0f}")
        if t.fits
        else (f"{t.batch}", "does not fit", "", "")
        for t in found.trials
    ]
    headings = ("batch", "peak GB", "images/s", "ms/step")
    print_table(headings, rows, right=headings)


def _tell(trial: "Trial") -> None:
    say(f"batch {trial.batch}: " + (f"{trial.images_per_s:,.1f} images/s" if trial.fits else "does not fit"))


def _nothing(trial: "Trial") -> None:
    """For those who want quiet."""
