"""`write_report`: run folder → report.html, one file that needs no network, no script and no other file."""

import os
import shlex
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from allmlp.files import whole_file, writing
from allmlp.reporting import figures, words
from allmlp.reporting.growth import growth_figures
from allmlp.reporting.ink import inline_svg
from allmlp.reporting.pairs import Shown, confused_pairs, example, shown_pairs
from allmlp.reporting.pictures import Inlined, inlined
from allmlp.reporting.records import (
    ClassResult,
    Corruption,
    Epoch,
    Evaluation,
    Model,
    Records,
    Robustness,
    Step,
    read_records,
)
from allmlp.reporting.robust import by_strength
from allmlp.reporting.steps import by_step
from allmlp.reporting.template import render
from allmlp.run import Run
from allmlp.strict_json import to_json

NUMBERED, MAPPED = 20, 60
"""Most classes of a confusion matrix with counts, and of one at all."""
MISTAKES = 24
"""Pictures of mistakes that are shown."""
OPEN_PAIRS = 12
"""Confused pairs whose pictures are there at once; those of others when their cell of the matrix is followed."""
FORWARD_BACKWARD = "three times the forward pass, at the last image size"
"""How training is counted: the gradients of a product are two products of its size."""
LISTED = 100
"""Files that are listed by name; the others are counted."""


@dataclass(frozen=True)
class Card:
    """A key figure."""

    label: str
    value: str
    note: str


def write_report(run: str | os.PathLike[str] | Run) -> Path:
    """Write the report of a run and return its path. What the run does not have yet is a line that says which command adds it.

    run: what `allmlp.train` returned, or its folder.

    Raises RunError for a file of the run that is damaged, or a folder that cannot be written.
    """
    run = Run.open(run)
    html = _render(run, read_records(run))
    path: Path = run.report
    with writing(path), whole_file(path) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="replace", newline="\n")
    return path


def _render(run: Run, records: Records) -> str:
    shown = records.evaluations[0] if records.evaluations else None
    return render(
        "page.html.j2",
        r=records,
        name=run.folder.resolve().name,
        shown=shown,
        headline=_headline(records, shown),
        cards=_cards(records, shown),
        curves=_curves(records),
        robust=None if records.robustness is None else _robust(run, records.robustness, records.model),
        cost=_cost(records),
        growth=growth_figures(run, records.state.epochs_done),
        folder=to_json(str(run.folder), ascii_only=False),
        quoted=shlex.quote(str(run.folder)),
        repeat=shlex.join(
            ["allmlp", "pretrain" if records.without_labels else "train", *_data_argument(records), "--recipe", str(run.recipe)]
        ),
        listed=LISTED,
        **(_results(run, shown) if shown else {}),
    )


def _data_argument(records: Records) -> list[str]:
    return [records.state.data_spec] if records.state.data_spec else []


def _headline(records: Records, shown: Evaluation | None) -> Card | None:
    """Top-1 with its interval, from the evaluation or else from the best epoch."""
    if shown:
        top1, images, split = shown.top1, shown.images, shown.split
    elif records.state.best and records.data and records.state.best.top1 is not None:
        top1, images, split = records.state.best.top1, records.data.val.images, "val"
    else:
        return None
    interval = words.between(words.wilson_interval(top1, images))
    kind = {"val": "validation images", "test": "test images"}.get(split, f"images of {split}")
    label = "k-NN accuracy" if records.without_labels else "Top-1 accuracy"
    return Card(label, words.percent(top1), f"on {images:,} {kind}; 95% interval {interval}")


def _cards(records: Records, shown: Evaluation | None) -> list[Card]:
    """The figures to know next."""
    cards = []
    if shown and len(shown.per_class) > 5:
        cards.append(Card("Top-5 accuracy", words.percent(shown.top5), "true class among the first five"))
    if shown:
        cards.append(Card("Calibration error", words.percent(shown.calibration_error), "mean gap of confidence and accuracy"))
    if val := _validation(records, shown):
        cards.append(val)
    if model := records.model:
        size = "×".join(map(str, model.preprocessing.img_size))
        cards.append(Card("Parameters", words.compact(model.parameters), f"{model.parameters:,}"))
        cards.append(Card("Multiply-adds", words.compact(model.macs), f"per image of {size} pixels"))
    state = records.state
    cards.append(Card("Training time", words.duration(state.seconds), f"{state.epochs_done} of {state.epochs} epochs"))
    if records.epochs:
        speed = median(epoch.images_per_s for epoch in records.epochs)
        cards.append(Card("Training speed", f"{speed:,.0f}", "images per second"))
    return cards


def _validation(records: Records, shown: Evaluation | None) -> Card | None:
    """Accuracy on the validation images, where the headline is of the test images."""
    found = next((one for one in records.evaluations if one.split == "val"), None)
    if found is None or shown is None or shown.split != "test":
        return None
    return Card("Validation accuracy", words.percent(found.top1), f"on {found.images:,} images, by which the epoch was chosen")


def _curves(records: Records) -> list[tuple[str, Markup]]:
    """(title, figure) of loss, accuracy, learning rate and, where it changes, image size; none before the first epoch has
    ended."""
    if not records.epochs:
        return []

    def column(name: str) -> list[Any]:
        return [getattr(epoch, name) for epoch in records.epochs]

    epochs: list[int] = column("epoch")
    best = records.state.best.epoch if records.state.best else None
    drawn = {"Loss": figures.loss_curves(epochs, column("train_loss"), column("val_loss"), best=best)}
    if records.without_labels:
        drawn["k-NN accuracy"] = figures.neighbour_curve(epochs, column("knn_top1"), best=best)
        drawn["Teacher"] = figures.teacher_curves(epochs, column("teacher_entropy"), column("teacher_information"), best=best)
    else:
        drawn["Top-1 accuracy"] = figures.accuracy_curves(
            epochs, column("train_top1"), column("val_top1"), column("ema_top1"), best=best
        )
    drawn |= {
        "Learning rate": figures.learning_rate(epochs, column("lr"), best=best),
    }
    heights, widths = column("img_height"), column("img_width")
    if len(set(zip(heights, widths, strict=True))) > 1:
        drawn["Image size"] = figures.image_sizes(epochs, heights, widths)
    norms = _norms(records.steps)
    last = records.epochs[-1]
    return [
        (title, inline_svg(figure, f"curve{i}", f"{title} by {'step' if title in norms else 'epoch'}. {_ending(last)}"))
        for i, (title, figure) in enumerate({**drawn, **norms}.items())
    ]


def _norms(steps: list[Step]) -> dict[str, Figure]:
    """Of gradient and weights, where the run says them."""
    series = {
        "Gradient norm": [step.grad_norm for step in steps],
        "Weight norm": [step.weight_norm for step in steps],
    }
    numbers = [step.step for step in steps]
    return {
        title: by_step(numbers, values)
        for title, values in series.items()
        if any(value is not None and isfinite(value) for value in values)
    }


def _ending(last: Epoch) -> str:
    if last.val_loss is None:
        return f"After epoch {last.epoch}: training loss {'–' if last.train_loss is None else f'{last.train_loss:.3f}'}."
    return f"After epoch {last.epoch}: validation loss {last.val_loss:.3f}, validation top-1 {words.percent(last.val_top1)}."


def _results(run: Run, shown: Evaluation) -> dict[str, Any]:
    """What the sections on the evaluation show."""
    names = [row.class_ for row in shown.per_class]
    together = shown_pairs(shown.confusion, names, shown.examples or shown.mistakes, run.evaluation)
    total = max(sum(row.images for row in shown.calibration), 1)
    return {
        "ranked": sorted(shown.per_class, key=_accuracy),
        "confusion": _confusion(shown, names, together) if len(names) <= MAPPED else None,
        "pairs": confused_pairs(shown.confusion, names) if len(names) > NUMBERED else [],
        "together": together,
        "linked": {one.place for one in together},
        "open_pairs": OPEN_PAIRS,
        "pictures": [example(run.evaluation, mistake) for mistake in shown.mistakes[:MISTAKES]],
        "reliability": _reliability(shown),
        "confidence": sum(row.images * row.confidence for row in shown.calibration) / total,
    }


def _robust(run: Run, found: Robustness, model: Model | None) -> list[tuple[str, Markup, Inlined | None, Corruption]]:
    """(title, figure, picture, numbers) of each corruption, the one that harms most first."""
    chance = 1 / len(model.classes) if model and model.classes else 0.0
    folder = run.robustness.with_suffix("")
    worst = sorted(found.corruptions, key=lambda one: sum(one.accuracy))
    titles = [one.name.replace("_", " ").capitalize().replace("Jpeg", "JPEG") for one in worst]
    return [
        (
            title,
            inline_svg(
                by_strength(found.clean, one.accuracy, found.images, chance=chance),
                f"robust{i}",
                f"Accuracy with {title}, from strength 1 to 5: {', '.join(map(words.percent, one.accuracy))}.",
            ),
            inlined(folder, one.picture),
            one,
        )
        for i, (title, one) in enumerate(zip(titles, worst, strict=True))
    ]


def _cost(records: Records) -> list[tuple[str, str]]:
    """What was measured, and what follows from it; nothing is guessed."""
    state, model, data = records.state, records.model, records.data
    found = []
    if model:
        found.append(("Parameters", f"{model.parameters:,}"))
        found.append(("Multiply-adds", f"{model.macs:,} per image"))
    if data and state.epochs_done:
        seen = state.epochs_done * data.train.images
        found.append(("Images trained on", f"{seen:,} ({state.epochs_done:,} epochs of {data.train.images:,})"))
        if model:
            found.append(("Training in all", f"{words.compact(3 * model.macs * seen)} multiply-adds: {FORWARD_BACKWARD}"))
    found.append(("Training time", words.duration(state.seconds)))
    if state.cpu_seconds:
        found.append(("Processor time", f"{words.duration(state.cpu_seconds)} of the first process, loader workers aside"))
    if records.epochs:
        speed = sorted(epoch.images_per_s for epoch in records.epochs)
        found.append(("Images per second", f"{median(speed):,.0f} (slowest epoch {speed[0]:,.0f}, fastest {speed[-1]:,.0f})"))
    where = [str(records.environment[key]) for key in ("device", "precision", "processor") if records.environment.get(key)]
    return [*found, ("On", ", ".join(where) or "not recorded"), ("Energy", "not measured")]


def _accuracy(row: ClassResult) -> float:
    """Worst first; classes without images last."""
    return 2.0 if row.accuracy is None else row.accuracy


def _confusion(shown: Evaluation, names: list[str], together: list[Shown]) -> Markup:
    links = {one.place for one in together}
    drawn = figures.confusion_map(shown.confusion, names, numbers=len(names) <= NUMBERED, links=links)
    return inline_svg(
        drawn, "confusion", f"Confusion matrix of {len(names)} classes. The table of classes says how each fared."
    )


def _reliability(shown: Evaluation) -> Markup:
    rows = shown.calibration
    drawn = figures.reliability(
        [row.confidence for row in rows],
        [row.accuracy for row in rows],
        [row.images for row in rows],
        [(row.low, row.high) for row in rows],
    )
    return inline_svg(
        drawn, "reliability", "Reliability diagram: accuracy against confidence. The table beside it has its numbers."
    )
