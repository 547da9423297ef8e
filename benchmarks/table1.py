"""Table 1 of the ResMLP article, measured on this machine, and how well its order holds here.

    python benchmarks/table1.py --json build/table1.json --page docs/table1.md

All models take turns in one process; leave the machine alone while it runs. The page and its figure (the same name, .svg)
are made from the JSON, and `--from build/table1.json` makes them again without measuring.
"""

import argparse
import math
import platform
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from allmlp import profile
from allmlp.errors import AllmlpError
from allmlp.files import whole_file, writing
from allmlp.profiling.rows import Profile, Row
from allmlp.profiling.table import MEASURED, Column, markdown
from allmlp.reporting.tradeoff import write_tradeoff
from allmlp.run import read_json, write_json

NAMES = ("resmlp_s12", "resmlp_s24", "resmlp_s36")
AGAINST = (
    "tf_efficientnet_b3",
    "tf_efficientnet_b4",
    "tf_efficientnet_b5",
    "regnety_040",
    "regnety_080",
    "regnety_160",
    "deit_small_patch16_224",
    "deit_base_patch16_224",
    "cait_xs24_384@224",
)
"""Each at the size the article measured it at, which is timm's own but for CaiT."""


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if given.again is None:
        found = profile(
            given.models or NAMES,
            against=given.against if given.models or given.against else AGAINST,
            rounds=given.rounds,
            seconds=given.seconds,
            threads=given.threads,
            quiet=False,
        )
        given.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(given.json, found.to_dict())
        if found.interrupted:
            print(f"interrupted; {given.json} has what there is so far", file=sys.stderr)
            return 130
    else:
        found = Profile.from_dict(read_json(given.again))
    print(markdown(MEASURED, found.rows))
    if given.page is not None:
        figure = given.page.with_suffix(".svg")
        write_tradeoff(found, figure)
        with writing(given.page), whole_file(given.page) as temporary:
            temporary.write_text(page(found, machine=given.machine, figure=figure.name), encoding="utf-8")
        print(f"{given.page} and {figure.name} are written", file=sys.stderr)
    return int(any(row.error for row in found.rows))


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="NAMES", help="instead of the article's ResMLPs")
    parser.add_argument("--against", nargs="*", default=(), metavar="TIMM_NAMES", help="instead of the article's others")
    parser.add_argument("--json", type=Path, default=Path("build/table1.json"), help="where all that was measured is written")
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    parser.add_argument("--from", type=Path, dest="again", metavar="JSON", help="measure nothing; use this file")
    parser.add_argument("--machine", help="what the page calls this machine")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int)
    return parser.parse_args(words)


SAID = (
    Column("V100 images/s", lambda row: _said(row, "images_per_s"), lambda value: f"{value:g}"),
    Column(
        "V100 / here, images/s", lambda row: _ratio(_said(row, "images_per_s"), row.images_per_s), lambda ratio: f"{ratio:.1f}"
    ),
    Column("V100 MiB", lambda row: _said(row, "memory_mib"), lambda value: f"{value:g}"),
    Column("here / V100, MiB", lambda row: _ratio(_mib(row), _said(row, "memory_mib")), lambda ratio: f"{ratio:.2f}"),
    Column("top-1, paper", lambda row: _said(row, "top1"), lambda value: f"{value:.1f} %"),
)


def page(found: Profile, *, machine: str | None, figure: str) -> str:
    """The Markdown page: the table, the figure, and how far the order of the models holds here."""
    about = found.environment
    rows = sorted(found.rows, key=lambda row: -(row.images_per_s or 0))
    place = "here" if about["device"] != "cpu" else f"on {machine or this_machine()}"
    return f"""# Table 1 of the ResMLP article, measured

Measured {place}, {_many(about["threads"], "thread")}, {about["precision"]}, torch {about["torch"]}, timm {about["timm"]},
batch {about["batch"]}, {_many(about["rounds"], "round")} in which every model had its turn; medians, and ± half the
distance between the quartiles. The V100's columns are the [article's](https://arxiv.org/abs/2105.03404), which does
not say with which software they were measured. Peak memory is what torch's allocator held at most for one batch:
weights, images, and what is made of them. Activations are the numbers that convolutions and matrix products put out
for one image. `make table1` measures again.

{markdown([*MEASURED, *SAID], rows)}

![Published accuracy against the images per second measured here]({figure})

## Who is faster than whom

{order(found.rows)}
## Who needs more memory than whom

{memory(found.rows)}"""


def order(rows: Sequence[Row]) -> str:
    """Rank correlation of our images/s with the article's, and the pairs that change places."""
    both = [(row, row.images_per_s, _said(row, "images_per_s")) for row in rows]
    pairs = [(row, ours, theirs) for row, ours, theirs in both if ours is not None and theirs is not None]
    if len(pairs) < 3:
        return "Too few models were measured to compare their order.\n"
    here, there = [p[1] for p in pairs], [p[2] for p in pairs]
    text = (
        f"Of {len(pairs)} models, {math.comb(len(pairs), 2)} pairs: Kendall's τ {kendall(here, there):.2f}, "
        f"Spearman's ρ {spearman(here, there):.2f} between images/s here and on the V100. "
    )
    swapped = [
        f"- {_name(fast)} before {_name(slow)} on the V100 ({_digits(a)} and {_digits(b)} images/s), after it here "
        f"({_digits(x)} and {_digits(y)}){_doubt(fast, slow)}"
        for (fast, x, a), (slow, y, b) in combinations(sorted(pairs, key=lambda p: -p[2]), 2)
        if x < y and a > b
    ]
    if not swapped:
        return text + "No pair changes places.\n"
    return text + f"Pairs that change places ({len(swapped)}):\n\n" + "\n".join(swapped) + "\n"


def memory(rows: Sequence[Row]) -> str:
    """How our peak memory compares with the article's."""
    both = [(row, _mib(row), _said(row, "memory_mib")) for row in rows]
    pairs = [(row, ours, theirs) for row, ours, theirs in both if ours is not None and theirs is not None]
    if len(pairs) < 3:
        return "Too few models were measured to compare their memory.\n"
    here, there = [p[1] for p in pairs], [p[2] for p in pairs]
    low, *_, high = sorted(pairs, key=lambda p: p[1] / p[2])
    return (
        f"Kendall's τ {kendall(here, there):.2f}, Spearman's ρ {spearman(here, there):.2f}. Here / V100 goes from "
        f"{low[1] / low[2]:.2f} ({_name(low[0])}) to {high[1] / high[2]:.2f} ({_name(high[0])}).\n"
    )


def kendall(a: Sequence[float], b: Sequence[float]) -> float:
    """τ-b: pairs in the same order less those in the other, as a share of the pairs that are no tie; NaN for ties alone."""
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    untied = math.sqrt(sum(x != 0 for x, _ in signs) * sum(y != 0 for _, y in signs))
    return float(sum(x * y for x, y in signs) / untied) if untied else math.nan


def spearman(a: Sequence[float], b: Sequence[float]) -> float:
    """ρ: the correlation of the ranks, ties sharing the mean of theirs."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ranks(values: Sequence[float]) -> list[float]:
    """1 for the smallest; ties share the mean of their ranks."""
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def this_machine() -> str:
    """The kind of processor, without its name."""
    try:
        vector = " with AVX-512" if "avx512f" in Path("/proc/cpuinfo").read_text() else ""
    except OSError:
        vector = ""
    return f"an {platform.machine().replace('x86_64', 'x86').replace('AMD64', 'x86')} processor{vector}"


def _said(row: Row, name: str) -> Any:
    return getattr(row.published, name, None)


def _name(row: Row) -> str:
    return row.published.label if row.published is not None else row.label


def _mib(row: Row) -> float | None:
    return None if row.peak_bytes is None else row.peak_bytes / 2**20


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a and b else None


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _doubt(a: Row, b: Row) -> str:
    """Whether two speeds differ by less than their spreads."""
    gap = abs(a.images_per_s / b.images_per_s - 1) if a.images_per_s and b.images_per_s else 0.0
    spreads = (a.images_per_s_spread or 0.0) + (b.images_per_s_spread or 0.0)
    return ", within their spread" if gap < spreads else ""


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AllmlpError as error:
        print(f"table1: {error}", file=sys.stderr)
        sys.exit(2)
