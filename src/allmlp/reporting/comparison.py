"""`write_comparison`: models side by side → one self-contained page."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from allmlp.calibration import DRAWS
from allmlp.errors import RunError, visible
from allmlp.evaluation.comparison import Compared, Comparison
from allmlp.files import whole_file, writing
from allmlp.reporting import rivals
from allmlp.reporting.ink import inline_svg
from allmlp.reporting.records import Epoch, Records, read_records
from allmlp.reporting.rivals import Curve
from allmlp.reporting.template import render
from allmlp.strict_json import to_json


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a model's training cost."""

    epochs: int
    seconds: float
    images_per_s: float | None
    """Median over the epochs; None where no epoch says."""
    device: str
    """And precision; empty where the run does not say."""


def trainings(found: Comparison) -> list[Trained | None]:
    """Of each model; None for weights without a run folder. Raises RunError for a damaged one."""
    return [None if records is None else _trained(records) for records in _records(found)]


def comparison_record(found: Comparison) -> dict[str, Any]:
    """All numbers as plain values, for JSON."""
    record = found.record()
    for row, trained in zip(record["models"], trainings(found), strict=True):
        row["training"] = None if trained is None else vars(trained)
    return record


def check_page(path: Path) -> None:
    """Raises RunError, before anything is measured, where no page can be written."""
    if path.is_dir():
        raise RunError(f"{path} is a folder", hint=f"name a file, such as {path / 'compare.html'}")
    if not path.parent.is_dir():
        raise RunError(f"there is no folder {path.parent}", hint="make it, or choose another --out")
    if not os.access(path.parent, os.W_OK):
        raise RunError(f"{path} cannot be written", hint="choose another --out")


def write_comparison(found: Comparison, path: str | os.PathLike[str]) -> Path:
    """Write the page, whole or not at all, and return its path. Raises RunError where it cannot be written."""
    page = Path(path)
    check_page(page)
    html = _render(found)
    with writing(page), whole_file(page) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="replace", newline="\n")
    return page


def _render(found: Comparison) -> str:
    records = _records(found)
    return render(
        "comparison.html.j2",
        c=found,
        data=visible(found.data),
        names=[visible(model.name) for model in found.models],
        pairs=[replace(pair, first=visible(pair.first), second=visible(pair.second)) for pair in found.pairs],
        strokes=[rivals.stroke(i) for i in range(len(found.models))],
        trained=[None if one is None else _trained(one) for one in records],
        curves=_curves([[] if one is None else one.epochs for one in records]),
        averaged=[visible(model.name) for model, one in zip(found.models, records, strict=True) if one and _averaged(one)],
        draws=DRAWS,
        shares=_shares(found.models),
        apart=_apart(found.models),
        recipe={visible(name): [said(value) for value in values] for name, values in found.recipe.items()},
    )


def _records(found: Comparison) -> list[Records | None]:
    return [None if model.run is None else read_records(model.run) for model in found.models]


def _trained(records: Records) -> Trained:
    speeds = [epoch.images_per_s for epoch in records.epochs]
    device = [str(records.environment[key]) for key in ("device", "precision") if records.environment.get(key)]
    return Trained(
        epochs=records.state.epochs_done,
        seconds=records.state.seconds,
        images_per_s=median(speeds) if speeds else None,
        device=" ".join(device),
    )


def _averaged(records: Records) -> bool:
    return any(epoch.ema_top1 is not None for epoch in records.epochs)


def _curves(epochs: list[list[Epoch]]) -> list[tuple[str, Markup]]:
    """(title, figure); none where no model has a run."""
    if not any(epochs):
        return []

    def of(field: str, along: str) -> list[Curve]:
        unit = 60 if along == "seconds" else 1
        return [Curve([getattr(e, along) / unit for e in rows], [getattr(e, field) for e in rows]) for rows in epochs]

    drawn = {
        "Validation top-1 by epoch": rivals.overlaid(of("val_top1", "epoch"), along="epoch", share=True),
        "Validation loss by epoch": rivals.overlaid(of("val_loss", "epoch"), along="epoch", share=False),
        "Validation top-1 by training time": rivals.overlaid(of("val_top1", "seconds"), along="minutes", share=True),
    }
    return [
        (title, inline_svg(figure, f"curve{i}", f"{title}, a line for each model."))
        for i, (title, figure) in enumerate(drawn.items())
    ]


def _shares(models: list[Compared]) -> Markup:
    top1 = [model.measures["top1"] for model in models]
    names = [visible(model.name) for model in models]
    figure = rivals.intervals(names, [e.value for e in top1], [e.bounds for e in top1], numbers=range(len(models)))
    return inline_svg(figure, "shares", "Top-1 accuracy of each model with its interval. The table has the numbers.")


def _apart(models: list[Compared]) -> Markup:
    top1 = [model.differences["top1"] for model in models[1:]]
    figure = rivals.intervals(
        [visible(model.name) for model in models[1:]],
        [e.value for e in top1],
        [e.bounds for e in top1],
        numbers=range(1, len(models)),
        zero=True,
    )
    return inline_svg(figure, "apart", "Differences in top-1 accuracy with their intervals. The table has the numbers.")


def said(value: Any) -> str:
    """A recipe's value as TOML would write it, nearly; a dash where there is none."""
    return "–" if value is None else visible(value) if isinstance(value, str) and value else to_json(value, ascii_only=False)
