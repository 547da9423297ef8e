"""allmlp compare"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from allmlp.commands.words import Engines, parse, print_json, print_table, say

if TYPE_CHECKING:
    from allmlp.evaluation.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Words:
    """Compare models on the same images: metrics with 95 % intervals, differences to the first one, McNemar's exact test
    of each pair, cost, and what differs between the recipes.

    Without --data the runs' own test images are used if they have any, else their validation images.
    """

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN RUN ...")]
    """Run folders; with --data also .safetensors files and names of released checkpoints."""
    data: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = None
    """Labelled images, as allmlp evaluate takes."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="PAGE.html")] = None
    """Write one self-contained page, with the training curves too."""
    weights: Literal["best", "last"] = "best"
    """Which weights of the runs."""
    images: int | None = None
    """At most so many images, at even distances; without it all of them."""
    batch: int = 64
    """Images at a time."""
    engine: Engines = "auto"
    """What answers: the models as they are (eager), an engine, or the fastest here when there are many images (auto)."""
    seed: int = 0
    """Of the samples that are simulated for the calibration error."""
    json: bool = False
    """Print everything as JSON on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="compare")
    from allmlp.evaluation.comparison import compare
    from allmlp.reporting.comparison import check_page, comparison_record, write_comparison

    if given.out is not None:
        check_page(given.out)
    found = compare(
        given.runs,
        given.data,
        which=given.weights,
        most=given.images,
        batch=given.batch,
        engine=given.engine,
        seed=given.seed,
    )
    page = None if given.out is None else write_comparison(found, given.out)
    if given.json:
        print_json(comparison_record(found))
        return 0
    print(f"{found.data}: {found.images:,} images; 95 % intervals in brackets\n")
    for table in (_results, _pairs, _cost, _recipe):
        table(found)
    if found.chosen_on:
        say("allmlp: the runs' best epochs were chosen on these images, which flatters all of them a little")
    if found.unreadable:
        say(f"allmlp: {found.unreadable} images could not be read")
    if page is not None:
        print(page)
    return 0


def _results(found: "Comparison") -> None:
    from allmlp.reporting.words import percent, points, signed

    def of(model: int, kind: Callable[[float], str], name: str, *, apart: bool = False) -> str:
        one = found.models[model]
        estimate = (one.differences if apart else one.measures)[name]
        if estimate.low is None or estimate.high is None:
            return kind(estimate.value)
        return f"{kind(estimate.value)} [{kind(estimate.low)}, {kind(estimate.high)}]"

    columns = ["model", "top-1", "top-5", "loss", "calibration error"]
    shown = {"top1": percent, "top5": percent, "loss": lambda x: f"{x:.3f}", "calibration_error": percent}
    gaps = {"top1": points, "top5": points, "loss": lambda x: signed(x, 3), "calibration_error": points}
    if found.classes <= 5:
        columns.remove("top-5")
        del shown["top5"], gaps["top5"]
    rows = [
        [one.name, *(of(i, kind, name) for name, kind in shown.items()), percent(one.ece)] for i, one in enumerate(found.models)
    ]
    print_table([*columns, "ECE"], rows, right=[*columns[1:], "ECE"])
    print("calibration error: without what chance adds to the ECE of so many images")
    print(f"\nagainst {found.models[0].name}, shares in points")
    rows = [
        [one.name, *(of(i, kind, name, apart=True) for name, kind in gaps.items())] for i, one in enumerate(found.models) if i
    ]
    print_table(columns, rows, right=columns[1:])
    print("a difference of calibration errors has no interval: none is known that holds as often as it says")


def _pairs(found: "Comparison") -> None:
    from allmlp.reporting.words import likelihood

    columns = ("first", "second", "only first right", "only second right", "McNemar's p", "for all pairs (Holm)")
    rows = [
        (one.first, one.second, str(one.only_first), str(one.only_second), likelihood(one.p), likelihood(one.p_holm))
        for one in found.pairs
    ]
    print()
    print_table(columns, rows, right=columns[2:])


def _cost(found: "Comparison") -> None:
    from allmlp.reporting.comparison import trainings
    from allmlp.reporting.words import compact, duration

    columns = ("model", "parameters", "multiply-adds", "trained in", "images/s", "epochs")
    rows = []
    for model, trained in zip(found.models, trainings(found), strict=True):
        took = ("-", "-", "-")
        if trained is not None:
            speed = "-" if trained.images_per_s is None else f"{trained.images_per_s:,.0f}"
            took = (duration(trained.seconds), speed, str(trained.epochs))
        rows.append((model.name, f"{model.parameters:,}", compact(model.macs), *took))
    print()
    print_table(columns, rows, right=columns[1:])


def _recipe(found: "Comparison") -> None:
    if found.recipe:
        from allmlp.reporting.comparison import said

        print()
        rows = [(field, *map(said, values)) for field, values in found.recipe.items()]
        print_table(("recipe", *(model.name for model in found.models)), rows)
