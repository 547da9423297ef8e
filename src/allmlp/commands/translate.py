"""allmlp translate"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from allmlp.commands.recipe_words import recipe_and_words
from allmlp.commands.runs import run_of
from allmlp.commands.words import parse, print_json, say
from allmlp.errors import AllmlpError, one_of
from allmlp.recipe import Optim, Recipe, Train, Translation, load_recipe
from allmlp.recipe.translation import USUAL

ABOUT = """\
usage: allmlp translate train DATA [words]          train on DATA/train.LANGUAGE and val.LANGUAGE, a sentence a line
       allmlp translate evaluate RUN [DATA]         BLEU and chrF on DATA/test.LANGUAGE
       allmlp translate predict RUN < text          the translation of each line of stdin, on stdout

allmlp translate train --help, and so on, say more."""


@dataclass(frozen=True, kw_only=True)
class TrainWords:
    """Train a translator whose encoder and decoder are ResMLPs, or a Transformer to compare it with.

    DATA is a folder with train.en and train.de, val.en and val.de, or other languages (--translation.source, .target): UTF-8
    text or .gz, one sentence a line. A vocabulary of both is learnt from train. Needs allmlp[translate].
    """

    data_folder: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder with the sentences."""
    recipe: Annotated[str | None, tyro.conf.arg(metavar="NAME_OR_FILE")] = None
    """A file, or the name of a recipe that comes with allmlp. Default: resmlp-mt-multi30k."""
    model: str = "resmlp_mt_s"
    """resmlp_mt_6, _12, _s or _xs, or transformer_mt_6, _s or _xs."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="RUN")] = None
    """The run folder, which must be new. Default: runs/MODEL-DATA-TIME."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="RUN|auto")] = None
    """Go on with an interrupted run; everything else is as it was. "auto", with --out RUN: begin, or go on where it is."""
    log: Annotated[str, tyro.conf.arg(metavar="NAMES")] = ""
    """Trackers besides TensorBoard's event files, with commas between: wandb, mlflow, trackio."""
    seed: int = Recipe.seed
    """Decides the initial weights, and every random change."""
    quiet: bool = False
    """Show nothing while training."""
    json: bool = False
    """At the end, print the run folder and its lowest validation loss as JSON on stdout."""
    translation: Translation = field(default_factory=Translation)
    optim: Optim = field(default_factory=Optim)
    train: Train = field(default_factory=Train)


@dataclass(frozen=True, kw_only=True)
class Searching:
    """How translations are found."""

    weights: Literal["best", "last"] = "best"
    """Which weights of the run."""
    beams: int = 4
    """Translations that are followed at once; 1 takes the most probable piece each time."""
    length_penalty: float = 0.6
    """What longer ones are worth; 0 prefers short ones."""
    batch: int = 32
    """Sentences at once."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True, kw_only=True)
class EvaluateWords(Searching):
    """BLEU and chrF, by sacreBLEU with its signatures; the translations go beside them in RUN/evaluation."""

    run: Annotated[str, tyro.conf.Positional]
    """A finished run."""
    data: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """Folder with the sentences. Default: that of the run."""
    split: str = "test"
    """Which of its files: test.en and test.de, say."""
    json: bool = False
    """Print what was found as JSON on stdout."""


@dataclass(frozen=True, kw_only=True)
class PredictWords(Searching):
    """The translation of each line of stdin, on stdout."""

    run: Annotated[str, tyro.conf.Positional]
    """A finished run."""


def main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(ABOUT)
        sys.exit(0 if words else 2)  # as tyro leaves after the help of a command without others inside
    known = {"train": _train, "evaluate": _evaluate, "predict": _predict}
    if words[0] not in known:
        raise AllmlpError(f"there is no command translate {words[0]!r}", hint=one_of(known, words[0]))
    return known[words[0]](words[1:])


def _train(words: list[str]) -> int:
    recipe, given, said = recipe_and_words(TrainWords, words, command="translate train", usual=load_recipe(USUAL))
    from allmlp.run import read_lines
    from allmlp.training.display import program
    from allmlp.training.distributed import is_first
    from allmlp.translation.main import resume, train

    run = run_of(train, recipe, given, said, command="translate train", again=resume)
    state = run.told()
    if state["state"] != "finished":
        return 130 if state.get("signal") == "SIGINT" else 0
    if is_first():
        if given.json:
            print_json({"run": str(run.folder), "val_loss": min(line["val_loss"] for line in read_lines(run.metrics))})
        if not given.quiet:
            command = f"{program()} translate"
            say(f"\nnext:\n  {command} evaluate {run.folder}         BLEU on the test sentences")
            say(f"  {command} predict {run.folder} < text   translate lines")
    return 0


def _evaluate(words: list[str]) -> int:
    given = parse(EvaluateWords, words, command="translate evaluate")
    from allmlp.translation.main import evaluate

    found = evaluate(
        given.run,
        given.data,
        split=given.split,
        which=given.weights,
        beams=given.beams,
        penalty=given.length_penalty,
        batch=given.batch,
        quiet=given.quiet,
    )
    if given.json:
        print_json(found)
    else:
        print(f"BLEU {found['bleu']:.2f}   {found['bleu_signature']}")
        print(f"chrF {found['chrf']:.2f}   {found['chrf_signature']}")
        say(f"{found['sentences']:,} sentences in {found['seconds']:.0f} s; {given.run}/evaluation/{given.split}.txt has them")
    return 0


def _predict(words: list[str]) -> int:
    given = parse(PredictWords, words, command="translate predict")
    from allmlp.translation.main import load, translations

    model, vocabulary = load(given.run, which=given.weights)
    found = translations(
        model, vocabulary, _lines(), beams=given.beams, penalty=given.length_penalty, batch=given.batch, quiet=given.quiet
    )
    for line in found:
        print(line, flush=True)
    return 0


def _lines() -> Iterator[str]:
    """Of stdin. Raises AllmlpError for what is no UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise AllmlpError(f"line {number} is no UTF-8", hint="convert it: iconv -f latin1 -t utf-8") from None
