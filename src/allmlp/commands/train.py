"""allmlp train"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from allmlp.commands.recipe_words import RecipeWords, recipe_and_words
from allmlp.commands.runs import pretrained, run_of
from allmlp.commands.words import print_json, say


@dataclass(frozen=True, kw_only=True)
class Words(RecipeWords):
    """Train a classifier on images.

    DATA is a folder with one folder of images per class (or with train, val and test folders of such), a .tar or .zip of one,
    WebDataset shards (folder, pattern or address), parquet files, hf:NAME, torchvision:NAME, fashion-mnist, or
    nothing: then the images that come with allmlp are used. Every value below can also stand in a recipe (TOML);
    what is given here wins. Hyper-parameters of the model: --hyper.drop_path 0.1.
    """

    data_folder: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder, or the name of a data set."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run folder, which must be new. Default: runs/MODEL-DATA-TIME."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="RUN|auto")] = None
    """Go on with an interrupted run; everything else is as it was. "auto", with --out RUN: begin, or go on when RUN is
    there, so that a scheduler can give the same command again."""
    log: Annotated[str, tyro.conf.arg(metavar="NAMES")] = ""
    """Trackers besides TensorBoard's event files, with commas between: wandb, mlflow, trackio."""
    quiet: bool = False
    """Show nothing while training."""
    json: bool = False
    """At the end, print the run folder and its result as JSON on stdout."""


def main(words: list[str]) -> int:
    recipe, given, said = recipe_and_words(Words, words, command="train")
    from allmlp.evaluation.classification import evaluate
    from allmlp.recipe import load_recipe
    from allmlp.reporting.page import write_report
    from allmlp.training.display import next_commands
    from allmlp.training.distributed import is_first
    from allmlp.training.main import train

    run = run_of(train, recipe, given, said, command="train")
    state = run.told()
    if state["state"] != "finished":
        return 130 if state.get("signal") == "SIGINT" else 0
    if not is_first():
        return 0
    if load_recipe(run.recipe).dino is not None:  # resumed from here
        return pretrained(run, json=given.json, quiet=given.quiet)
    results = [evaluate(run, quiet=given.quiet)]
    if results[0]["split"] == "test":  # once, now that nothing is chosen any more; the choice was made by the others
        results.insert(0, evaluate(run, split="val", quiet=given.quiet))
    write_report(run)
    if given.json:
        last = results[-1]
        each = {result["split"]: {key: result[key] for key in ("top1", "loss", "images")} for result in results}
        print_json({"run": str(run.folder), "split": last["split"], "top1": last["top1"], "loss": last["loss"], **each})
    if not given.quiet:
        for result in results:
            say(f"{result['split']} top-1 {result['top1']:.2%} on {result['images']:,} images (best weights)")
        say("\nnext:\n" + "\n".join(f"  {line}" for line in next_commands(run)))
    return 0
