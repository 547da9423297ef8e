"""`allmlp.shrink`: less of a trained model, a short fine-tune, and what both cost and bring, measured."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from allmlp.data.images import Images
from allmlp.engine.device import best_device
from allmlp.engine.environment import environment
from allmlp.engine.load import ModelSource, load, located, source_name, source_path
from allmlp.errors import DataError, RunError
from allmlp.explanation.pruning import IMAGES, at_levels
from allmlp.files import writing
from allmlp.models.base import ImageModel
from allmlp.recipe import Recipe, load_recipe
from allmlp.run import LOCK, Run, read_json, write_json, write_model
from allmlp.shrinking.measure import BATCH, ROUNDS, size, speed
from allmlp.shrinking.methods import Asked, Shrunk, levels, shrunk
from allmlp.shrinking.tune import tuning, untrained
from allmlp.surgery.magnitude import Scope
from allmlp.training.again import data_spec
from allmlp.training.claim import Claim
from allmlp.training.distributed import Team, is_first
from allmlp.training.main import images_of, train
from allmlp.training.masks import SUFFIX, write_masks

REPORT = "shrink.json"


def shrink(
    source: ModelSource,
    data: str | os.PathLike[str] | None = None,
    *,
    token_sparsity: float | None = None,
    scope: Scope = "layer",
    token_rank: int | None = None,
    token_energy: float | None = None,
    channel_sparsity: float | None = None,
    epochs: int = 5,
    lr: float | None = None,
    recipe: Recipe | str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    which: str = "best",
    quiet: bool = True,
) -> dict[str, Any]:
    """Make a trained model smaller, train it a little further, and measure it beside what it was.

    source: whatever `allmlp.load` takes. data: as for `train`, with the model's classes; None: the run's own.
    token_sparsity, scope, token_rank, token_energy, channel_sparsity: see `Asked`; exactly one way.
    epochs: of the fine-tune; 0 for none. lr: its peak, None for a fifth of the recipe's. recipe: None is the run's own.
    out: the new run folder; None: the source's name and what was asked for. The same call goes on after an interruption.
    Returns what shrink.json says: of the original, of what was shrunk, and of that trained further the size, the accuracy on
    the test images, or on the validation images where there are none, and the speed; and the accuracy by how much is left.
    Where a signal ended the fine-tune, "state" is "stopped" and nothing was measured.
    Raises AllmlpError for what cannot be shrunk so, data that do not fit, and folders that are there.
    """
    asked = Asked(
        token_sparsity=token_sparsity,
        scope=scope,
        token_rank=token_rank,
        token_energy=token_energy,
        channel_sparsity=channel_sparsity,
    )
    model, own = load(source, which=which), _own(source)
    base = recipe if isinstance(recipe, Recipe) else load_recipe(recipe) if recipe else own.recipe
    if data is None and not own.there:
        raise DataError("weights without a run folder have no images of their own", hint="give what to fine-tune on as DATA")
    spec = own.spec if data is None else data_spec(data)
    folder = Path(out) if out is not None else _beside(source, asked)
    _check(folder, asked)
    images = images_of(spec, base, Team(), quiet)
    if images.classes != model.classes:
        raise DataError(f"{images.title} has other classes than the model", hint="give the data it was trained on, as DATA")
    left = shrunk(model, asked)
    with Claim() as claim:
        if is_first():
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            claim.take(folder)
            _check(folder, asked)  # again: from here on nobody else changes it
        shown, split = (images.val, "validation") if images.test is None else (images.test, "test")
        init = _written(left, asked, folder)
        weights = _kept(source, init.parent) if isinstance(source, ImageModel) else located(source, which)[0]
        subject = Subject(model, weights, source_name(source), shown, f"{images.title}, {split} images")
        chosen = tuning(base, left.model, init, epochs=max(epochs, 1), lr=lr)
        after = _accuracy(left.model, shown, quiet)
        if not epochs:
            run = untrained(left.model, chosen, images, spec, folder, after)
        else:
            run = train(spec, recipe=chosen, out=folder, resume="auto", quiet=quiet)
            state = run.told()
            if state["state"] != "finished":
                return {"out": str(folder), "state": "stopped", "signal": state["signal"]}
        return _measured(subject, asked, left, run, after, epochs, quiet)


@dataclass(frozen=True)
class Subject:
    """What is shrunk, and the images by which it is judged."""

    model: ImageModel
    weights: Path
    source: str
    images: Images
    title: str
    """Of the images, in words."""


@dataclass(frozen=True)
class Own:
    """What a run folder says itself; nothing for weights without one."""

    recipe: Recipe
    spec: str | None
    there: bool


def _own(source: ModelSource) -> Own:
    """Raises RunError for a sparse run, whose zeros would be lost."""
    if isinstance(source, ImageModel):
        return Own(Recipe(), None, there=False)
    folder = source_path(source)
    if not (folder / "run.json").is_file():
        return Own(Recipe(), None, there=False)
    run = Run.open(folder)
    if run.masks.is_file():
        raise RunError(f"{folder} is sparse already, and would not stay so", hint="make it sparse last: shrink the run before")
    return Own(load_recipe(run.recipe), run.data_spec(), there=True)


def _kept(model: ImageModel, folder: Path) -> Path:
    """The weights of a model that is no file, as one: its size is measured."""
    path = folder / "original.safetensors"
    write_model(path, model.state_dict(), model.card())
    return path


def _beside(source: ModelSource, asked: Asked) -> Path:
    path = Path(source_name(source))
    return path.with_name(f"{path.name}-{asked.words}") if path.is_dir() else Path("runs") / f"{path.stem}-{asked.words}"


def _check(folder: Path, asked: Asked) -> None:
    """Raises RunError where the folder has something else than what an earlier call of the same kind began."""
    if (folder / REPORT).is_file():
        raise RunError(f"{folder} is shrunk and measured already", hint=f"see {folder / REPORT}, or choose another --out")
    begun = Run(folder).shrunk / "asked.json"
    if begun.is_file():
        if read_json(begun) != asdict(asked):
            raise RunError(f"{folder} was begun with other words", hint="give the same words again, or choose another --out")
    elif folder.is_dir() and any(path.name != LOCK for path in folder.iterdir()):
        raise RunError(f"{folder} is not empty", hint="choose another --out")


def _written(left: Shrunk, asked: Asked, folder: Path) -> Path:
    """The weights the fine-tune begins with, and their masks."""
    place = Run(folder).shrunk
    with writing(folder):
        place.mkdir(parents=True, exist_ok=True)
    init = place / "model.safetensors"
    write_model(init, left.model.state_dict(), left.model.card())
    if left.masks:
        write_masks(init.with_suffix(SUFFIX), left.masks)
    write_json(place / "asked.json", asdict(asked))
    return init


def _accuracy(model: ImageModel, images: Images, quiet: bool) -> dict[str, Any]:
    return at_levels(model, [{}], images, title=f"{len(images)} images", quiet=quiet)[0]


def _measured(
    subject: Subject, asked: Asked, left: Shrunk, run: Run, after: dict[str, Any], epochs: int, quiet: bool
) -> dict[str, Any]:
    """What shrink.json says, once it is written. after: the accuracy of what was shrunk, before it was trained further."""
    model, shown, final = subject.model, subject.images, load(run)
    few = shown.spread(IMAGES)
    tried = levels(model, asked)
    curve = at_levels(model, list(tried.values()), few, title=f"{len(few)} images", quiet=quiet)
    original = {**size(model, subject.weights), **_accuracy(model, shown, quiet)}
    result = {**size(final, run.weights()), "before_tuning": after, **(_accuracy(final, shown, quiet) if epochs else after)}
    rates = speed({"original": model, "shrunk": final}, quiet=quiet)
    report: dict[str, Any] = {
        "asked": asdict(asked),
        "way": asked.words,
        "source": subject.source,
        "model": model.name,
        "data": subject.title,
        "epochs": epochs,
        "left": left.left,
        "original": {**original, "images_per_s": rates["original"]},
        "shrunk": {**result, "images_per_s": rates["shrunk"]},
        "curve": [{"left": share, **row} for share, row in zip(tried, curve, strict=True)],
        "measured": {**environment(best_device(), "fp32"), "batch": BATCH, "rounds": ROUNDS},
        "out": str(run.folder),
        "state": "finished",
    }
    write_json(run.folder / REPORT, report)
    return report
