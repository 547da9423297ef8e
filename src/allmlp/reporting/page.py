"""`write_report`: run folder → report.html, one file that needs no network, no script and no other file."""

import json
import shlex
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from markupsafe import Markup

from allmlp.files import whole_file, writing
from allmlp.reporting import figures, words
from allmlp.reporting.ink import inline_svg
from allmlp.reporting.records import ClassResult, Counts, Epoch, Evaluation, Mistake, Records, read_records
from allmlp.reporting.template import render
from allmlp.run import Run

NUMBERED, MAPPED = 20, 60
"""Most classes of a confusion matrix with counts, and of one at all."""
PAIRS = 20
"""Confused pairs that are listed where there are no counts."""
MISTAKES = 24
"""Pictures of mistakes that are shown."""
PICTURE_BYTES = 120_000
"""A larger picture is left out, so that the page stays small."""
CRISP = 64
"""Pictures up to this many pixels are scaled up without smoothing."""
LISTED = 100
"""Files that are listed by name; the others are counted."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Card:
    """A key figure."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Pair:
    """Images of one class that were taken for another. share: of the true class's images."""

    label: str
    predicted: str
    images: int
    share: float


@dataclass(frozen=True)
class Picture:
    """A mistake to look at; address is None where the picture is gone."""

    mistake: Mistake
    file: str
    address: str | None
    crisp: bool


def write_report(run: Run) -> Path:
    """Write run.report and return its path. What the run does not have yet is a line that says which command adds it.

    Raises RunError for a file of the run that is damaged, or a folder that cannot be written.
    """
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
        folder=json.dumps(str(run.folder), ensure_ascii=False),
        quoted=shlex.quote(str(run.folder)),
        repeat=shlex.join(["allmlp", "train", *_data_argument(records), "--recipe", str(run.recipe)]),
        listed=LISTED,
        **(_results(run, shown) if shown else {}),
    )


def _data_argument(records: Records) -> list[str]:
    return [records.state.data_spec] if records.state.data_spec else []


def _headline(records: Records, shown: Evaluation | None) -> Card | None:
    """Top-1 with its interval, from the evaluation or else from the best epoch."""
    if shown:
        top1, images, split = shown.top1, shown.images, shown.split
    elif records.state.best and records.data:
        top1, images, split = records.state.best.top1, records.data.val.images, "val"
    else:
        return None
    interval = words.between(words.wilson_interval(top1, images))
    kind = {"val": "validation images", "test": "test images"}.get(split, f"images of {split}")
    return Card("Top-1 accuracy", words.percent(top1), f"on {images:,} {kind}; 95% interval {interval}")


def _cards(records: Records, shown: Evaluation | None) -> list[Card]:
    """The figures to know next."""
    cards = []
    if shown and len(shown.per_class) > 5:
        cards.append(Card("Top-5 accuracy", words.percent(shown.top5), "true class among the first five"))
    if shown:
        cards.append(Card("Calibration error", words.percent(shown.calibration_error), "mean gap of confidence and accuracy"))
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


def _curves(records: Records) -> list[tuple[str, Markup]]:
    """(title, figure) of loss, accuracy, learning rate and, where it changes, image size; none before the first epoch has
    ended."""
    if not records.epochs:
        return []

    def column(name: str) -> list[Any]:
        return [getattr(epoch, name) for epoch in records.epochs]

    epochs: list[int] = column("epoch")
    best = records.state.best.epoch if records.state.best else None
    drawn = {
        "Loss": figures.loss_curves(epochs, column("train_loss"), column("val_loss"), best=best),
        "Top-1 accuracy": figures.accuracy_curves(
            epochs, column("train_top1"), column("val_top1"), column("ema_top1"), best=best
        ),
        "Learning rate": figures.learning_rate(epochs, column("lr"), best=best),
    }
    heights, widths = column("img_height"), column("img_width")
    if len(set(zip(heights, widths, strict=True))) > 1:
        drawn["Image size"] = figures.image_sizes(epochs, heights, widths)
    last = records.epochs[-1]
    return [
        (title, inline_svg(figure, f"curve{i}", f"{title} by epoch. {_ending(last)}"))
        for i, (title, figure) in enumerate(drawn.items())
    ]


def _ending(last: Epoch) -> str:
    return f"After epoch {last.epoch}: validation loss {last.val_loss:.3f}, validation top-1 {words.percent(last.val_top1)}."


def _results(run: Run, shown: Evaluation) -> dict[str, Any]:
    """What the sections on the evaluation show."""
    names = [row.class_ for row in shown.per_class]
    total = max(sum(row.images for row in shown.calibration), 1)
    return {
        "ranked": sorted(shown.per_class, key=_accuracy),
        "confusion": _confusion(shown, names) if len(names) <= MAPPED else None,
        "pairs": confused_pairs(shown.confusion, names) if len(names) > NUMBERED else [],
        "pictures": [_picture(run, mistake) for mistake in shown.mistakes[:MISTAKES]],
        "reliability": _reliability(shown),
        "confidence": sum(row.images * row.confidence for row in shown.calibration) / total,
    }


def _accuracy(row: ClassResult) -> float:
    """Worst first; classes without images last."""
    return 2.0 if row.accuracy is None else row.accuracy


def _confusion(shown: Evaluation, names: list[str]) -> Markup:
    drawn = figures.confusion_map(shown.confusion, names, numbers=len(names) <= NUMBERED)
    return inline_svg(
        drawn, "confusion", f"Confusion matrix of {len(names)} classes. The table of classes says how each fared."
    )


def confused_pairs(counts: Counts, names: list[str]) -> list[Pair]:
    """The pairs of classes with the most mistakes, most first."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    worst = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(place), len(names)) for place in worst]
    return [Pair(names[i], names[j], int(wrong[i, j]), wrong[i, j] / counts[i].sum()) for i, j in places if wrong[i, j]]


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


def _picture(run: Run, mistake: Mistake) -> Picture:
    """The picture as a data address. Only small PNG files inside the evaluation folder are taken."""
    path = (run.evaluation / mistake.picture).resolve()
    inside = path.is_relative_to(run.evaluation.resolve()) and path.is_file() and path.stat().st_size <= PICTURE_BYTES
    content = path.read_bytes() if inside else b""
    if not content.startswith(PNG):
        return Picture(mistake, Path(mistake.path).name, None, False)
    width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
    address = f"data:image/png;base64,{b64encode(content).decode()}"
    return Picture(mistake, Path(mistake.path).name, address, max(width, height) <= CRISP)
