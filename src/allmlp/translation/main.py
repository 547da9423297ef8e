"""Train a translator, measure it, and translate."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from allmlp.data.progress import watched
from allmlp.engine.device import best_device
from allmlp.engine.environment import environment
from allmlp.engine.load import load_finite
from allmlp.errors import DataError, RunError
from allmlp.files import whole_file, writing
from allmlp.recipe import Recipe, load_recipe
from allmlp.recipe.translation import USUAL
from allmlp.run import Run, read_json, read_record, write_json
from allmlp.training import checkpoint
from allmlp.training.again import begun, cut_back
from allmlp.training.checkpoint import Position
from allmlp.training.claim import Claim, new_folder
from allmlp.training.distributed import Team, joined, may_restart, restarts
from allmlp.training.main import as_it_ran, beginning, chosen_by, display_of, finish, merged
from allmlp.training.misfits import misfits
from allmlp.training.optim import warmup_steps
from allmlp.translation.batches import digest, padded
from allmlp.translation.model import END, Translator, create_translator
from allmlp.translation.pairs import open_pairs
from allmlp.translation.scores import scores
from allmlp.translation.search import BEAMS, LENGTH_PENALTY, translate
from allmlp.translation.setup import Text, make_plan, text_of, translation_of, vocabulary_of
from allmlp.translation.vocabulary import Vocabulary
from allmlp.weights.files import read_tensors

VOCABULARY = "vocabulary.model"
BATCH = 32
"""Sentences that are translated at once."""
GATHERED = 100
"""Batches' worth of lines that are read ahead, so that sentences of like length can go together."""


def train(
    folder: str | os.PathLike[str] | None,
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: Literal["never", "auto"] = "never",
    log: Sequence[str] = (),
    quiet: bool = False,
    **fields: Any,
) -> Run:
    """Train on FOLDER/train.LANGUAGE and val.LANGUAGE, one sentence a line, and return the run folder.

    recipe, out, resume, log and fields: as for `allmlp.train`. Raises AllmlpError for what cannot be used.
    """
    chosen = merged(USUAL if recipe is None else recipe, fields)
    spec = translation_of(chosen)
    if folder is None:
        raise DataError("no sentences to learn from", hint=f"give a folder with train.{spec.source} and train.{spec.target}")
    if out is None and (resume == "auto" or may_restart()):
        raise RunError("a run that may be started again needs a folder of its own", hint="give --out RUN")
    where = str(Path(folder).expanduser().resolve())
    with joined(chosen.train.process_timeout) as team, Claim() as claim:
        again = out is not None and (resume == "auto" or restarts() > 0)
        there = team.by_first(lambda: begun(out, chosen, where)) if again and out is not None else None
        if there is not None:
            return _go_on(there, team, claim, quiet=quiet)
        return _begin(chosen, Path(where), team, claim, out=out, over=again, services=log, quiet=quiet)


def resume(folder: str | os.PathLike[str], *, quiet: bool = False) -> Run:
    """Go on with a run that was interrupted, to the same end. Raises RunError when there is nothing to go on from."""
    run = Run.open(folder)
    if run.told().get("state") == "finished":
        raise RunError(f"{folder} is finished", hint=f"train again into another folder, with --recipe {run.recipe}")
    with joined(load_recipe(run.recipe).train.process_timeout) as team, Claim() as claim:
        return _go_on(run, team, claim, quiet=quiet)


def _begin(
    recipe: Recipe,
    folder: Path,
    team: Team,
    claim: Claim,
    *,
    out: str | os.PathLike[str] | None,
    over: bool,
    services: Sequence[str],
    quiet: bool,
) -> Run:
    learnt = team.by_first(lambda: vocabulary_of(folder, recipe).model)
    text = text_of(folder, recipe, Vocabulary(learnt))
    plan = make_plan(recipe, text, team)
    usual = f"{recipe.model}-{folder.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    run = team.by_first(lambda: claim.create(out if out is not None else new_folder(usual), over=over))
    display = display_of(run, team, quiet, plan.task.counts)
    claim.say(display.say)
    record = beginning(folder.name, str(folder), recipe, services, function="allmlp.translation.main.train(…)")
    record["warmup_steps"] = warmup_steps(recipe.optim, plan.steps, recipe.train.epochs)
    if team.first:
        with writing(run.recipe), whole_file(run.recipe) as temporary:
            temporary.write_text(recipe.to_toml(), encoding="utf-8")
        text.vocabulary.write(run.folder / VOCABULARY)
        write_json(run.environment, environment(plan.device, plan.precision) | chosen_by(plan))
        write_json(run.data, _described(text))
    spec = translation_of(recipe)
    for name, found in (("training", text.train), ("validation", text.val)):
        left_out = f", {found.left_out:,} left out: longer than {spec.longest} pieces" if found.left_out else ""
        display.say(f"{name:<10} {len(found):,} sentences of {folder}{left_out}")
    count = sum(p.numel() for p in plan.model.parameters())
    display.say(f"model      {recipe.model}, {count / 1e6:.2f} M parameters, {plan.precision} on {plan.device.type}")
    for line in misfits(recipe, plan.steps):
        display.say(line, "yellow")
    display.say(f"run        {run.folder}   seed {recipe.seed}, {recipe.train.epochs} epochs of {plan.steps} steps")
    return finish(plan, run, Position(), display, record)


def _go_on(run: Run, team: Team, claim: Claim, *, quiet: bool) -> Run:
    if run.told().get("state") != "finished":
        team.by_first(lambda: claim.take(run.folder))
    record = run.told()
    recipe = load_recipe(run.recipe)
    recipe = replace(recipe, train=as_it_ran(recipe.train, read_record(run.environment, "precision")))
    display = display_of(run, team, quiet, "pieces")
    claim.say(display.say)
    if record.get("state") == "finished":
        display.say(f"{run.folder} is finished: nothing to go on with")
        return run
    team.by_first(run.tidy)
    text = text_of(Path(run.data_spec() or ""), recipe, Vocabulary.read(run.folder / VOCABULARY))
    before, now = read_json(run.data), _described(text)
    if before != {name: value for name, value in now.items() if name in before or name != "digest"}:  # older runs have none
        raise RunError(
            f"the sentences of {run.data_spec()} are not those this run began with", hint="restore them, or train again"
        )
    fresh = make_plan(recipe, text, team)
    position, plan = checkpoint.load(run, lambda _: fresh, team, lambda line: display.say(line, "yellow"))
    if team.first:
        cut_back(run, position, plan.steps)
    display.say(f"resuming {run.folder} at epoch {position.epoch + 1}, step {position.step + 1}")
    return finish(plan, run, position, display, record)


def _described(text: Text) -> dict[str, Any]:
    """What data.json says."""
    return {
        "folder": str(text.folder),
        "vocabulary": len(text.vocabulary),
        "train": text.train.described(),
        "val": text.val.described(),
        "digest": digest(text.train, text.val),
    }


def load(folder: str | os.PathLike[str], *, which: str = "best") -> tuple[Translator, Vocabulary]:
    """A finished run's model, in evaluation mode, and its vocabulary. Raises AllmlpError for what is none."""
    run = Run.open(folder)
    weights = run.weights(which)
    if not weights.is_file():
        raise RunError(f"{folder} has no {which} weights yet", hint=f"finish it: allmlp translate train --resume {folder}")
    card = read_json(weights.with_suffix(".json"))
    if card.get("task") != "translation" or not isinstance(card.get("hyperparameters"), dict):
        raise RunError(f"{folder} is no translation run", hint="give a folder that allmlp translate train wrote")
    vocabulary = Vocabulary.read(run.folder / VOCABULARY)
    model = create_translator(str(card.get("name")), **{**card["hyperparameters"], "vocabulary": len(vocabulary)})
    load_finite(model, read_tensors(weights), weights)
    return model.eval().to(best_device()), vocabulary


def evaluate(
    folder: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    *,
    split: str = "test",
    which: str = "best",
    beams: int = BEAMS,
    penalty: float = LENGTH_PENALTY,
    batch: int = BATCH,
    quiet: bool = False,
) -> dict[str, Any]:
    """BLEU and chrF of a run's translations of DATA/SPLIT, kept in its evaluation/ folder with the translations.

    data: a folder as for `train`; None: the run's own. Raises AllmlpError for what cannot be used.
    """
    run = Run.open(folder)
    run.check_writable()
    model, vocabulary = load(folder, which=which)
    spec = translation_of(load_recipe(run.recipe))
    where = Path((run.data_spec() or "") if data is None else data)
    pairs = open_pairs(where, split, (spec.source, spec.target))
    started = time.monotonic()
    said = list(
        translations(model, vocabulary, pairs.source, beams=beams, penalty=penalty, batch=batch, total=len(pairs), quiet=quiet)
    )
    result = {
        "split": split,
        "weights": which,
        **scores(said, pairs.target).record(),
        "beams": beams,
        "length_penalty": penalty,
        "seconds": time.monotonic() - started,
        "evaluated": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    with writing(run.evaluation):
        run.evaluation.mkdir(exist_ok=True)
    write_json(run.evaluation / f"{split}.json", result)
    with writing(run.evaluation), whole_file(run.evaluation / f"{split}.txt") as temporary:
        temporary.write_text("".join(line + "\n" for line in said), encoding="utf-8")
    return result


def translations(
    model: Translator,
    vocabulary: Vocabulary,
    lines: Iterable[str],
    *,
    beams: int = BEAMS,
    penalty: float = LENGTH_PENALTY,
    batch: int = BATCH,
    total: int | None = None,
    quiet: bool = False,
) -> Iterator[str]:
    """The translation of each line, in their order; of an empty line, an empty one.

    Lines are read a few thousand ahead and translated together with others of like length. total: their number, for a bar.
    Raises ShapeError that names the line for one that is too long for the model.
    """
    if batch < 1 or beams < 1:
        raise DataError(f"batches of {batch} sentences and {beams} beams", hint="give --batch and --beams 1 or more")
    shown = lines if total is None else watched(lines, total=total, what="translating", quiet=quiet)
    first, waiting = 1, []
    for line in shown:
        waiting.append(line)
        if len(waiting) == batch * GATHERED:
            yield from _together(model, vocabulary, waiting, first, beams, penalty, batch)
            first, waiting = first + len(waiting), []
    yield from _together(model, vocabulary, waiting, first, beams, penalty, batch)


def _together(
    model: Translator, vocabulary: Vocabulary, lines: Sequence[str], first: int, beams: int, penalty: float, batch: int
) -> list[str]:
    """first: the number of the first line, from 1."""
    pieces = [vocabulary.encode(line) for line in lines]
    for number, found in enumerate(pieces, first):
        if len(found) >= model.longest:
            raise DataError(
                f"line {number} has {len(found) + 1} pieces, and the model was made for {model.longest}",
                hint="split it into sentences, or train with a larger --translation.longest",
            )
    said = [""] * len(lines)
    by_length = sorted((i for i in range(len(lines)) if pieces[i]), key=lambda i: len(pieces[i]))
    device = next(model.parameters()).device
    for start in range(0, len(by_length), batch):
        rows = by_length[start : start + batch]
        source = padded([([*pieces[i], END], []) for i in rows]).source.to(device)
        for i, best in zip(rows, translate(model, source, beams=beams, penalty=penalty), strict=True):
            said[i] = vocabulary.decode(best.pieces)
    return said
