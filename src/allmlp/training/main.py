"""`allmlp.train`: open the data, prepare the run folder, run the loop."""

import os
import shlex
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from allmlp.data.damage import refuse_too_many
from allmlp.data.hold import held
from allmlp.data.images import Source
from allmlp.data.look import look_at
from allmlp.data.sources import fetches, open_source
from allmlp.engine.device import best_device
from allmlp.engine.environment import environment
from allmlp.errors import AllmlpError, RecipeError, RunError
from allmlp.files import whole_file, writing
from allmlp.recipe import RENAMED, Dino, Recipe, Train, current, load_recipe, recipe_from
from allmlp.run import Run, read_record, write_json
from allmlp.signals import leave_if_asked, left_by
from allmlp.training import checkpoint
from allmlp.training.again import begun, cut_back, data_spec
from allmlp.training.by_images import described, findings, looked_at, reading_of, with_findings
from allmlp.training.checkpoint import Position
from allmlp.training.claim import Claim, new_folder
from allmlp.training.display import Display, counted, program
from allmlp.training.distillation.open import located
from allmlp.training.distributed import Team, joined, may_restart, restarts
from allmlp.training.fingerprint import Fingerprint
from allmlp.training.journal import Journal
from allmlp.training.loop import Loop
from allmlp.training.masks import beside, keep_with, with_masks
from allmlp.training.optim import warmup_steps
from allmlp.training.plan import Plan
from allmlp.training.products import impossible
from allmlp.training.retry import fitted
from allmlp.training.setup import make_plan
from allmlp.training.stages import plan_at
from allmlp.training.start import start_from
from allmlp.training.summary import describe, summarise
from allmlp.training.trackers import checked


def train(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: Literal["never", "auto"] = "never",
    log: Sequence[str] = (),
    quiet: bool = False,
    **fields: Any,
) -> Run:
    """Train a classifier and return its run folder.

    data: a folder of class folders, a .tar or .zip of one, shards, parquet files, a data set's name (see the README), or None
    for the images that come with allmlp.
    recipe: a Recipe, a packaged recipe's name, or a TOML file. out: the run folder, which must be new unless
    resume is "auto": then a run that is there goes on, and a finished one is returned as it is.
    log: trackers besides the event files, such as "wandb".
    fields: values that win over the recipe's, as in model="resmlp_s12", seed=1, train={"epochs": 3}, or with
    dots as on the command line: **{"data.img_size": (64, 64), "train.epochs": 3}.
    In each of several processes (torchrun) it is called alike; the first one writes.
    Raises AllmlpError for data, recipes and folders that cannot be used. A signal ends it early with
    everything saved; see `resume`.
    """
    chosen = merged(recipe, fields)
    if chosen.dino is not None:
        raise RecipeError("this recipe learns without labels: it has [dino]", hint="use allmlp pretrain, or allmlp.pretrain")
    if chosen.translation is not None:
        raise RecipeError("this recipe learns from sentences: it has [translation]", hint="use allmlp translate train")
    return _begun_or_again(chosen, data, out, resume, log, quiet)


def pretrain(
    data: str | os.PathLike[str] | None = None,
    *,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: Literal["never", "auto"] = "never",
    log: Sequence[str] = (),
    quiet: bool = False,
    **fields: Any,
) -> Run:
    """Learn features from images alone (DINO) and return the run folder, whose model has no classes.

    Classes, where the data has them, are used to measure the features by their neighbours, and for nothing else.
    All words are those of `train`; the recipe's own table is "dino", as in dino={"local_crops": 4}.
    Raises TrainingError, besides, when the teacher gives all images one answer.
    """
    chosen = merged(Recipe(dino=Dino()) if recipe is None else recipe, fields)
    chosen.without_labels()
    return _begun_or_again(chosen, data, out, resume, log, quiet)


def _begun_or_again(
    chosen: Recipe,
    data: str | os.PathLike[str] | None,
    out: str | os.PathLike[str] | None,
    resume: Literal["never", "auto"],
    log: Sequence[str],
    quiet: bool,
) -> Run:
    spec, services = data_spec(data), checked(log)
    chosen = replace(chosen, distill=located(chosen.distill))
    if out is None and (resume == "auto" or may_restart()):
        raise RunError("a run that may be started again needs a folder of its own", hint="give --out RUN")
    with joined(chosen.train.process_timeout) as team, Claim() as claim:
        again = out is not None and (resume == "auto" or restarts() > 0)
        if out is not None and again:
            there = team.by_first(lambda: begun(out, chosen, spec))
            if there is not None:
                return _go_on(there, team, claim, quiet=quiet)
        return _begin(chosen, spec, team, claim, out=out, over=again, services=services, quiet=quiet)


def resume(folder: str | os.PathLike[str] | Run, *, quiet: bool = False) -> Run:
    """Go on with a run that was interrupted, from its last checkpoint, to the same end.

    Raises RunError when the run is finished, has no checkpoint, or its data has changed.
    """
    run = Run.open(folder)
    folder, recipe = run.folder, load_recipe(run.recipe)
    if recipe.translation is not None:
        raise RunError(f"{run.folder} learns from sentences", hint=f"allmlp translate train --resume {run.folder}")
    if run.told().get("state") == "finished":
        raise RunError(
            f"{folder} is finished", hint=f"train again into another folder, with --recipe {run.recipe} and more --train.epochs"
        )
    with joined(recipe.train.process_timeout) as team, Claim() as claim:
        return _go_on(run, team, claim, quiet=quiet)


def _begin(
    recipe: Recipe,
    spec: str | None,
    team: Team,
    claim: Claim,
    *,
    out: str | os.PathLike[str] | None,
    over: bool,
    services: Sequence[str],
    quiet: bool,
) -> Run:
    source = images_of(spec, recipe, team, quiet)
    start = None
    if recipe.init is not None:
        recipe, start = start_from(recipe, source)
    found = with_findings(recipe, source)
    told = list(findings(recipe, source, found.data.in_chans or source.in_chans))
    recipe = found
    plan = with_masks(make_plan(recipe, source, start, team), beside(recipe.init))
    run = team.by_first(lambda: claim.create(out if out is not None else _fresh_folder(recipe, source), over=over))
    display = display_of(run, team, quiet)
    claim.say(display.say)
    record = beginning(source.title, spec, recipe, services, function="allmlp.train(…)")
    record["warmup_steps"] = warmup_steps(recipe.optim, plan.steps, recipe.train.epochs)
    if team.first:
        with writing(run.recipe), whole_file(run.recipe) as temporary:
            temporary.write_text(recipe.to_toml(), encoding="utf-8")
        write_json(run.environment, environment(plan.device, plan.precision) | chosen_by(plan))
        write_json(run.data, describe(source) | described(recipe, source) | Fingerprint(source).keep(run))
        keep_with(run, plan)
        for path, reason in source.left_out:
            run.append(run.unreadable, {"path": path, "reason": reason})
    summarise(display, plan, run, told)
    return finish(plan, run, Position(), display, record)


def beginning(title: str, spec: str | None, recipe: Recipe, services: Sequence[str], *, function: str) -> dict[str, Any]:
    """What run.json says from the start. title, spec: of the data. function: what was called where no command was given."""
    by_command = Path(sys.argv[0]).stem in ("allmlp", "__main__")
    return {
        "data": title,
        "data_spec": spec,
        "command": shlex.join(["allmlp", *sys.argv[1:]]) if by_command else function,
        "seed": recipe.seed,
        "log": list(services),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "allmlp": version("allmlp"),
    }


def _go_on(run: Run, team: Team, claim: Claim, *, quiet: bool) -> Run:
    if run.told().get("state") != "finished":
        team.by_first(lambda: claim.take(run.folder))
    display, record = display_of(run, team, quiet), run.told()
    claim.say(display.say)
    if record.get("state") == "finished":
        display.say(f"{run.folder} is finished: nothing to go on with")
        return run
    team.by_first(run.tidy)
    recipe, chosen = load_recipe(run.recipe), read_record(run.environment, "precision")
    distill = replace(recipe.distill, precision=chosen.get("teacher_precision", "auto"))
    recipe = replace(recipe, train=as_it_ran(recipe.train, chosen), distill=distill)
    about = read_record(run.data, "in_chans")
    if recipe.data.in_chans is None:  # as runs of allmlp 1 have it
        recipe = replace(recipe, data=replace(recipe.data, in_chans=about["in_chans"]))
    source = images_of(run.data_spec(), recipe, team, quiet, look="deep" in about)
    before, now = read_record(run.data, "classes", "train", "val"), describe(source)
    if isinstance(digest := before.get("digest"), str):
        team.by_first(lambda: Fingerprint(source).refuse_other(run, digest, str(record.get("data"))))
    if any(before[key] != now[key] for key in ("classes", "train", "val")):
        raise RunError(
            f"the images of {record.get('data')} are not those this run began with", hint="restore them, or train again"
        )
    begun_with = make_plan(recipe, source, team=team)
    position, plan = checkpoint.load(
        run, lambda at: plan_at(begun_with, at.epoch), team, lambda text: display.say(text, "yellow")
    )
    if team.first:
        cut_back(run, position, plan.steps)
    display.say(f"resuming {run.folder} at epoch {position.epoch + 1}, step {position.step + 1}")
    return finish(with_masks(plan, run.masks), run, position, display, record)


def chosen_by(plan: Plan) -> dict[str, str]:
    """What this machine decided, besides the precision, for environment.json."""
    teacher = {} if plan.distiller is None else {"teacher_precision": plan.distiller.teacher.precision}
    return {"products": plan.products, **teacher}


def as_it_ran(train: Train, chosen: Mapping[str, Any]) -> Train:
    """With what was decided when the run began, as environment.json has it, as far as it can be had here."""
    precision, products = chosen["precision"], chosen.get("products", "torch")
    if train.products == "auto" and impossible(train, best_device(), precision):
        products = "torch"
    return replace(train, precision=precision, products=products)


def display_of(run: Run, team: Team, quiet: bool, counts: str = "images") -> Display:
    """The first process speaks for all."""
    return Display(run.log if team.first else None, quiet=quiet or not team.first, counts=counts)


def images_of(spec: str | None, recipe: Recipe, team: Team, quiet: bool, *, look: bool = True) -> Source:
    """The recipe's images, in memory where they are small; look: at what some of them are.

    Raises DataError when too many cannot be read.
    """
    quiet = quiet or not team.first

    def opened() -> Source:
        train = recipe.train
        options: dict[str, Any] = dict(**recipe.data.opening, limit=train.limit, shots=train.shots)
        return open_source(spec, seed=recipe.seed, **options, least=2 if recipe.dino is None else 1, quiet=quiet)

    source = team.one_by_one(opened) if fetches(spec) else opened()
    if look:
        source = looked_at(source, recipe, team.by_first(lambda: look_at(source.train, recipe.data.page)))
    source = held(source, reading_of(recipe.data, source), quiet=quiet)
    refuse_too_many(source.left_out, source.bad_share, recipe.data.max_bad_share)
    return source


def merged(recipe: Recipe | str | os.PathLike[str] | None, fields: Mapping[str, Any]) -> Recipe:
    """A recipe with some values replaced; groups may be given in part. Raises RecipeError."""
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe) if recipe is not None else Recipe()
    table = asdict(base)
    for key, value in fields.items():
        group, dot, name = key.partition(".")
        change = {name: value} if dot else value
        if isinstance(change, Mapping):
            change, given = current(change, f"{group}."), change
            for old in sorted(given.keys() - change.keys()):
                now = RENAMED[f"{group}.{old}"]
                warnings.warn(f"{group}.{old} is called {now} now", FutureWarning, stacklevel=3)
        known = table.get(group)
        table[group] = {**known, **change} if isinstance(change, Mapping) and isinstance(known, Mapping) else change
    return recipe_from(table)


def finish(plan: Plan, run: Run, position: Position, display: Display, record: dict[str, Any]) -> Run:
    """Run the loop and keep run.json true, whatever happens."""
    team = plan.team
    journal = Journal(
        run if team.first else None,
        every=plan.recipe.train.log_every,
        services=record.get("log", ()),
        step=position.epoch * plan.steps + position.step,
        config=plan.recipe.flat(),
        say=display.say,
        counts=plan.task.counts,
    )
    loop = Loop(plan, run, position, display, journal, lambda: note("running"))
    retries: list[dict[str, Any]] = list(record.get("retries", []))

    def note(state: str, by: str | None = None) -> None:
        at = loop.position
        best = {"epoch": at.best_epoch, "top1": at.measured_top1, "weights": at.best_weights}
        write_json(
            run.state,
            {
                **record,
                "state": state,
                "signal": by,
                "epochs_done": at.epoch,
                "epochs": plan.recipe.train.epochs,
                "best": best if at.best_epoch else None,
                "seconds": at.seconds,
                "cpu_seconds": at.cpu_seconds,
                "retries": retries,
            },
        )

    try:
        if team.first:
            note("running")
        finished = fitted(loop, retries)
    except BaseException as error:
        with suppress(RunError):  # where no file can be written, what ended the run is the thing to say
            if team.first:
                left = left_by(error)
                note("stopped", left.name if left else None)
        if isinstance(error, OSError):
            raise RunError(
                f"{run.folder} can no longer be written: {error.strerror or error}",
                hint=f"make room on the disk or make it writable, then allmlp {plan.task.command} --resume {run.folder}",
            ) from None
        if isinstance(error, RuntimeError) and not isinstance(error, AllmlpError) and loop.interrupt.signal is not None:
            leave_if_asked(loop.interrupt.signal.name)  # the others had left before all could agree on a step
        raise
    finally:
        journal.close()
    with loop.interrupt:  # a signal more changes nothing now
        name = next((by for by in team.gathered(loop.interrupt.signal and loop.interrupt.signal.name) if by), None)
        team.by_first(lambda: note("finished" if finished else "stopped", None if finished else name))
    if loop.listed:
        display.say(f"{counted(len(loop.listed), 'image')} could not be decoded; {run.unreadable} lists them", "yellow")
    at = loop.position
    if finished:
        display.say(plan.task.ending(at))
        leave_if_asked(name)
    else:
        display.say(
            f"{name}: saved after step {loop.done}; go on with\n  {program()} {plan.task.command} --resume {run.folder}", "bold"
        )
    return run


def _fresh_folder(recipe: Recipe, source: Source) -> Path:
    """runs/MODEL-DATA-TIME, new."""
    words = "".join(c if c.isalnum() else "-" for c in source.title.split(" (")[0]).strip("-")
    return new_folder(f"{recipe.model}-{words}-{time.strftime('%Y%m%d-%H%M%S')}")
