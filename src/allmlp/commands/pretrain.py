"""allmlp pretrain"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from allmlp.commands.recipe_words import SharedWords, recipe_and_words
from allmlp.commands.runs import pretrained, run_of
from allmlp.recipe import Dino, Recipe


@dataclass(frozen=True, kw_only=True)
class Words(SharedWords):
    """Learn features from images without labels (DINO): a student learns what its own running mean says of other parts of
    the same picture.

    DATA is what allmlp train takes; one folder of pictures inside it is enough. Where there are several classes, nearest
    neighbours measure the features every few epochs; nothing else sees a label. The run is a model without classes:
    allmlp train DATA --init RUN learns them, allmlp evaluate RUN DATA --knn --linear measures it.
    """

    data_folder: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder, or the name of a data set."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run folder, which must be new. Default: runs/MODEL-DATA-TIME."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="RUN|auto")] = None
    """Go on with an interrupted run; everything else is as it was. "auto", with --out RUN: begin, or go on where it is."""
    log: Annotated[str, tyro.conf.arg(metavar="NAMES")] = ""
    """Trackers besides TensorBoard's event files, with commas between: wandb, mlflow, trackio."""
    quiet: bool = False
    """Show nothing while training."""
    json: bool = False
    """At the end, print the run folder and its k-NN accuracy as JSON on stdout."""
    dino: Dino = field(default_factory=Dino)


def main(words: list[str]) -> int:
    recipe, given, said = recipe_and_words(Words, words, command="pretrain", usual=Recipe(dino=Dino()))
    from allmlp.training.distributed import is_first
    from allmlp.training.main import pretrain

    run = run_of(pretrain, recipe, given, said, command="pretrain")
    state = run.told()
    if state["state"] != "finished":
        return 130 if state.get("signal") == "SIGINT" else 0
    return pretrained(run, json=given.json, quiet=given.quiet) if is_first() else 0
