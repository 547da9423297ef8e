"""`allmlp.compare`: several models on the same images: how good, how sure that is, what they cost, how they were trained."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.calibration import DRAWS, LEVEL, Values
from allmlp.data.images import Images
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.engine.load import ModelSource, load, several, source_name
from allmlp.errors import AllmlpError, DataError, RunError
from allmlp.evaluation.answers import answers, images_for
from allmlp.models.base import ImageModel
from allmlp.paired import MEASURES, Estimate, estimates, holm, image_scores, mcnemar, measures
from allmlp.recipe import load_recipe
from allmlp.run import Run

MOST = 12
"""Models that are compared at once: so many lines can be told apart."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the models."""

    name: str
    """The folder's or the file's; the whole path where two would be alike."""
    path: str
    run: Run | None
    """None for weights without a run folder."""
    measures: dict[str, Estimate]
    """By `MEASURES`: shares in [0, 1], the loss in nats; the calibration error without what chance adds to it."""
    ece: float
    """The calibration error of these very images, as `evaluate` says it: chance adds to it, the more the fewer there are."""
    differences: dict[str, Estimate]
    """To the first model."""
    parameters: int
    macs: int
    """Multiply-adds of one image."""
    img_size: tuple[int, int]
    engine: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two of the models, and McNemar's exact test of them."""

    first: str
    second: str
    only_first: int
    """Images that the first alone gets right."""
    only_second: int
    p: float
    p_holm: float
    """Corrected for the number of pairs."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `compare` finds."""

    data: str
    images: int
    """That every model could read."""
    unreadable: int
    chosen_on: bool
    """Whether these are the validation images on which the runs' best epochs were chosen."""
    classes: int
    weights: str
    seed: int
    models: list[Compared]
    pairs: list[Pair]
    recipe: dict[str, list[Any]]
    """Fields of the recipes that differ → the value of each model; None where there is none."""

    def record(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = asdict(self)
        for row in found["models"]:
            del row["run"]
        return {**found, "draws": DRAWS, "level": LEVEL}


def compare(
    runs: Sequence[ModelSource],
    data: str | os.PathLike[str] | None = None,
    *,
    which: str = "best",
    most: int | None = None,
    batch: int = 64,
    engine: str = "auto",
    seed: int = 0,
    quiet: bool = False,
) -> Comparison:
    """Evaluate models on the same images and say how far what they differ by could be chance.

    runs: finished run folders, or runs; with `data` whatever `allmlp.load` takes. The first one is what the others are compared
    with. data: as for `allmlp.evaluate`; None: the runs' own test or validation images, which must be the same.
    which: "best" or "last" weights. most: so many of the images, at even distances. seed: of the samples
    that are simulated for the calibration error.
    Raises AllmlpError for fewer than two runs or images, unfinished ones, and such as have other classes or images.
    """
    given: list[ModelSource] = several(runs)
    paths = [source_name(run) for run in given]
    if not 2 <= len(paths) <= MOST:
        raise AllmlpError(f"comparing takes 2 to {MOST} runs, not {len(paths)}", hint="name the runs one after another")
    if batch < 1 or (most is not None and most < 1):
        raise DataError("a batch and the number of images start at 1", hint="give 1 or more")
    folders = [_finished(run, data) for run in given]
    names, models = _names(paths), [load(run, which=which) for run in given]
    _same_classes(names, models)
    opened = _images(names, folders, models, data, quiet)
    title, split, left_out = opened[0][2], opened[0][1], opened[0][3]
    costs = [(parameters(model), multiply_adds(model)) for model in models]
    scores, read, engines = [], [], []
    for name, model, (images, *_) in zip(names, models, opened, strict=True):
        chosen = images if most is None else images.spread(most)
        out, answered = answers(model, chosen, title=title, batch=batch, engine=engine, what=f"evaluating {name}", quiet=quiet)
        scores.append(image_scores(out.logits, out.labels))
        read.append(_keys(chosen)[out.indices.numpy()])
        engines.append(answered)
    together = _matched(scores, read)
    if together.shape[1] < 2:
        raise DataError("one image says nothing of chance", hint="compare on two images or more")
    own, apart = estimates(together, seed=seed)
    ece = measures(together.mean(1))[:, MEASURES.index("calibration_error")].tolist()
    return Comparison(
        data=title,
        images=together.shape[1],
        unreadable=len(left_out) + len(chosen) - together.shape[1],
        chosen_on=data is None and split == "val",
        classes=models[0].num_classes,
        weights=which,
        seed=seed,
        models=[
            Compared(
                name=names[i],
                path=paths[i],
                run=folders[i],
                measures=dict(zip(MEASURES, own[i], strict=True)),
                ece=ece[i],
                differences=dict(zip(MEASURES, apart[i], strict=True)),
                parameters=costs[i][0],
                macs=costs[i][1],
                img_size=models[i].img_size,
                engine=engines[i],
            )
            for i in range(len(paths))
        ],
        pairs=_pairs(names, together[:, :, 0] > 0),
        recipe=_recipes(folders),
    )


def _finished(given: ModelSource, data: str | os.PathLike[str] | None) -> Run | None:
    """The run folder; None for weights. Raises RunError for a run that is not at its end."""
    path = source_name(given)
    if isinstance(given, ImageModel):
        if data is None:
            raise RunError(f"a model ({path}) has no images of its own", hint="compare on some: data=DATA")
        return None
    if not Path(path).is_dir():
        if data is None and Path(path).is_file():
            raise RunError(f"{path} has no images of its own", hint="compare on some, with --data DATA")
        if data is None:
            raise RunError(f"{path} is not a run folder", hint="check the path; a released name also needs --data DATA")
        return None
    run = Run.open(path)
    state = run.told()
    if state.get("state") != "finished":
        done = f"{state.get('epochs_done')} of {state.get('epochs')} epochs"
        raise RunError(f"{path} is not finished: {done}", hint=f"finish it: allmlp train --resume {path}")
    return run


def _names(paths: Sequence[str]) -> list[str]:
    """The shortest that tell the models apart."""
    last = [path if not Path(path).exists() else Path(path).resolve().name for path in paths]
    unclear = [path if Counter(last)[name] > 1 else name for path, name in zip(paths, last, strict=True)]
    return [f"{name} ({i + 1})" if Counter(unclear)[name] > 1 else name for i, name in enumerate(unclear)]


def _same_classes(names: Sequence[str], models: Sequence[ImageModel]) -> None:
    for name, model in zip(names, models, strict=True):
        apart = sorted(set(model.classes or ()) ^ set(models[0].classes or ()))
        if apart:
            shown = ", ".join(apart[:4]) + (f" and {len(apart) - 4} more" if len(apart) > 4 else "")
            raise DataError(
                f"{names[0]} and {name} have different classes; only one of them knows {shown}",
                hint="compare models of the same classes",
            )


Opened = tuple[Images, str, str, list[tuple[str, str]]]


def _images(
    names: Sequence[str], folders: Sequence[Run | None], models: Sequence[ImageModel], data: Any, quiet: bool
) -> list[Opened]:
    """Each model's images, opened once where they are the same. Raises DataError where they are not the same pictures."""
    known: dict[Any, Opened] = {}
    found = []
    for name, folder, model in zip(names, folders, models, strict=True):
        key = (_origin(folder) if data is None else None, model.classes)
        if key not in known:
            known[key] = images_for(folder, model.classes or (), data, quiet)
        found.append(known[key])
        if found[-1] is not found[0]:
            _same_images(names[0], name, found[0][0], found[-1][0])
    return found


def _origin(run: Run | None) -> tuple[Any, ...]:
    """What decides which images a run holds out."""
    recipe = None if run is None else load_recipe(run.recipe)
    return (None,) if run is None or recipe is None else (run.data_spec(), *recipe.data.opening.values(), recipe.seed)


def _same_images(first: str, second: str, ours: Images, theirs: Images) -> None:
    a, b = set(_keys(ours).tolist()), set(_keys(theirs).tolist())
    if a != b:
        raise DataError(
            f"{first} and {second} were not evaluated on the same images: {len(a & b)} of {len(a)} and {len(b)} are in both",
            hint="compare on others, which neither was trained on, with --data DATA",
        )


def _keys(images: Images) -> NDArray[np.object_]:
    """What names each image."""
    return np.array([images.name(i) for i in range(len(images))], dtype=object)


def _matched(scores: Sequence[Values], read: Sequence[NDArray[np.object_]]) -> Values:  # m × (n s), m × n → m n s
    """The images that every model could read, in one order."""
    common = set(read[0].tolist()).intersection(*(keys.tolist() for keys in read[1:]))
    rows = []
    for each, keys in zip(scores, read, strict=True):
        order = np.argsort(keys, kind="stable")
        rows.append(each[[i for i in order if keys[i] in common]])
    return np.stack(rows)


def _pairs(names: Sequence[str], right: NDArray[np.bool_]) -> list[Pair]:  # m n
    places = list(combinations(range(len(names)), 2))
    found = [mcnemar(right[i], right[j]) for i, j in places]
    adjusted = holm([one.p for one in found])
    return [
        Pair(
            first=names[i],
            second=names[j],
            only_first=one.only_first,
            only_second=one.only_second,
            p=one.p,
            p_holm=corrected,
        )
        for (i, j), one, corrected in zip(places, found, adjusted, strict=True)
    ]


def _recipes(folders: Sequence[Run | None]) -> dict[str, list[Any]]:
    """The fields in which the runs differ; weights without a run count for none."""
    flat = [None if run is None else {"data": run.data_spec(), **load_recipe(run.recipe).flat()} for run in folders]
    fields = dict.fromkeys(name for values in flat if values for name in values)
    rows = {name: [None if values is None else values.get(name) for values in flat] for name in fields}
    with_run = [i for i, values in enumerate(flat) if values is not None]
    return {name: row for name, row in rows.items() if any(row[i] != row[with_run[0]] for i in with_run)}
