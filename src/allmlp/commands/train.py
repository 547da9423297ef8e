"""allmlp train"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from allmlp.commands.words import pair, parse, print_json, say, split_hyper
from allmlp.errors import RecipeError
from allmlp.recipe import Augment, Data, Distill, Optim, Recipe, Train, load_recipe

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Words:
    """Train a classifier on images.

    DATA is a folder with one folder of images per class (or with train and val folders of such), a .tar of one,
    WebDataset shards (folder, pattern or address), parquet files, hf:NAME, torchvision:NAME, fashion-mnist, or
    nothing: then the images that come with allmlp are used. Every value below can also stand in a recipe (TOML);
    what is given here wins. Hyper-parameters of the model: --hyper.drop_path 0.1.
    """

    data_folder: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder, or the name of a data set."""
    recipe: Annotated[str | None, tyro.conf.arg(metavar="NAME_OR_FILE")] = None
    """A file, or the name of a recipe that comes with allmlp (see allmlp recipes)."""
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
    model: str = Recipe.model
    """A name from allmlp models."""
    init: Annotated[str | None, tyro.conf.arg(metavar="RUN_OR_MODEL")] = None
    """Start from this model and its weights, resized to the images and with a new head for new classes: a run, a file of
    allmlp's own, or a released checkpoint by name."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Height and width of the model's input in pixels, one number for both; short for --data.img_size."""
    teacher: Annotated[str | None, tyro.conf.arg(metavar="NAME_OR_RUN")] = None
    """Learn from this teacher's answers too: a name of timm's, or a run; short for --distill.teacher."""
    seed: int = Recipe.seed
    """Decides the split, the initial weights, and every random change."""
    data: Data = field(default_factory=Data)
    augment: Augment = field(default_factory=Augment)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)
    distill: Distill = field(default_factory=Distill)


def main(words: list[str]) -> int:
    words, hyper = split_hyper([word.removeprefix("--data=") for word in words if word != "--data"])  # --data X is X
    source = _value_of(words, "--recipe")
    base = load_recipe(source) if source is not None else Recipe()
    same = ("model", "init", "seed", "data", "augment", "optim", "train", "distill")
    default = Words(**{name: getattr(base, name) for name in same})
    given = parse(Words, words, command="train", default=default)
    data = given.data if given.img_size is None else replace(given.data, img_size=pair(given.img_size))
    distill = given.distill if given.teacher is None else replace(given.distill, teacher=given.teacher)
    recipe = replace(
        base,
        **{name: getattr(given, name) for name in same if name not in ("data", "distill")},
        hyper={**({} if given.model != base.model else base.hyper), **hyper},
        data=data,
        distill=distill,
    )
    from allmlp.evaluation.classification import evaluate
    from allmlp.reporting.page import write_report
    from allmlp.run import read_json
    from allmlp.training.display import next_commands
    from allmlp.training.distributed import is_first
    from allmlp.training.main import resume, train

    auto: Literal["never", "auto"] = "auto" if given.resume == AUTO else "never"
    if given.resume is not None and given.resume != AUTO:
        others = [w for w in words if w.startswith("--") and not w.startswith(("--resume", "--quiet", "--json"))]
        if others or hyper or given.data_folder:
            raise RecipeError(
                f"--resume goes on with the run as it was; {others[0] if others else 'DATA or --hyper'} would change it",
                mend=f"allmlp train --resume {given.resume} alone",
            )
        run = resume(given.resume, quiet=given.quiet)
    else:
        services = tuple(name.strip() for name in given.log.split(",") if name.strip())
        run = train(given.data_folder, recipe=recipe, out=given.out, resume=auto, log=services, quiet=given.quiet)
    state = read_json(run.state)
    if state["state"] != "finished":
        return 130 if state.get("signal") == "SIGINT" else 0
    if not is_first():
        return 0
    result = evaluate(run, quiet=given.quiet)
    write_report(run)
    if given.json:
        print_json({"run": str(run.folder), "split": result["split"], "top1": result["top1"], "loss": result["loss"]})
    if not given.quiet:
        say(f"{result['split']} top-1 {result['top1']:.2%} on {result['images']:,} images (best weights)\n\nnext:")
        say("\n".join(f"  {line}" for line in next_commands(run)))
    return 0


def _value_of(words: list[str], option: str) -> str | None:
    """The recipe is needed before the other words can be read: it sets their defaults."""
    for place, word in enumerate(words):
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
        if word == option and place + 1 < len(words):
            return words[place + 1]
    return None
