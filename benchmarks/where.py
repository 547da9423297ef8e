"""Where the time of an engine by torch alone goes: each kind of operation, and how near its products come to the limit.

    python benchmarks/where.py --json build/where.json --page docs/benchmarks/where.md
    python benchmarks/where.py --models smlpnet_t --batches 32 --precisions fp32

Each operation is timed on one thread. The limit is the rate of oneDNN's products of ResMLP-S12's shapes, as in inference.py,
measured between the turns; the plain time is measured without looking at operations.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import allmlp
from allmlp.data.progress import watched
from allmlp.engine.backends.base import DTYPES
from allmlp.engine.cost import multiply_adds
from allmlp.engine.device import threads_used
from allmlp.engine.environment import environment
from allmlp.engine.plans.find import make_plan
from allmlp.engine.plans.layout import Setup
from allmlp.engine.plans.products import broken
from allmlp.pages import own_pages
from allmlp.run import read_json, whole_file, write_json
from inference import REPEATS, SHAPES, limits

MODELS = ("resmlp_s12", "mixer_s16", "smlpnet_t")
ROUNDS = 7
SHOWN = 12
"""Kinds of operations that get a line of their own; the rest share one."""
KINDS = {
    "aten.layer_norm": "LayerNorm",
    "aten.native_layer_norm": "LayerNorm",
    **dict.fromkeys(("aten.copy_", "aten.cat", "aten.clone", "aten.contiguous", "aten.reshape", "aten.flatten"), "copies"),
    "aten.add_": "sums",
    "aten.add": "sums",
    "aten.mul_": "scaling",
    "aten.mul": "scaling",
}


@dataclass
class Kind:
    """All operations of one kind and shape: what they took of an image, and what they multiply."""

    what: str
    seconds: float = 0.0
    macs: int = 0


@dataclass
class Cell:
    """One engine. rounds: seconds of an image, nobody looking; limit: multiply-adds a second of nothing but products."""

    model: str
    batch: int
    precision: str
    kinds: list[Kind] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if given.again is None:
        about, cells = environment(torch.device("cpu"), "see the tables"), []
        given.json.parent.mkdir(parents=True, exist_ok=True)
        for name, batch, precision in product(given.models, given.batches, given.precisions):
            with threads_used(1):
                cells.append(measured(name, batch, precision, given.rounds))
            print(table(cells[-1]), flush=True)
            write_json(given.json, {"environment": about, "cells": [asdict(cell) for cell in cells]})
    else:
        found = read_json(given.again)
        about = found["environment"]
        cells = [Cell(**{**cell, "kinds": [Kind(**kind) for kind in cell["kinds"]]}) for cell in found["cells"]]
        print("\n\n".join(map(table, cells)))
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(given.page) as temporary:
            temporary.write_text(page(cells, about, given.machine), encoding="utf-8")
    return 0


def measured(name: str, batch: int, precision: str, rounds: int) -> Cell:
    """Engine and products take turns; then the engine runs as often with every operation timed."""
    if trouble := broken(DTYPES[precision]):
        raise SystemExit(f"{precision} cannot be measured here: {trouble}")
    torch.manual_seed(0)
    model = allmlp.create_model(name).eval()
    with own_pages():
        plan = make_plan(model, Setup(DTYPES[precision], batch))
    images, products = torch.randn(batch, model.in_chans, *model.img_size), limits()[f"limit oneDNN {precision}"]
    each, cell = max(1, 8 // batch), Cell(name, batch, precision)
    multiplied = REPEATS * sum(r * i * o for r, i, o in SHAPES)
    for turn in watched(range(rounds + 1), total=rounds + 1, what=f"{name} {batch} {precision}"):
        began = time.process_time()
        with torch.inference_mode():
            for _ in range(each):
                plan(images)
        between = time.process_time()
        with torch.inference_mode():
            products()
        if turn:  # the first is to warm up
            cell.rounds.append((between - began) / each / batch)
            cell.limit.append(multiplied / (time.process_time() - between))
    watch = Watch()
    with torch.inference_mode(), watch:
        for _ in range(rounds):
            plan(images)
    for kind in watch.kinds.values():
        kind.seconds, kind.macs = kind.seconds / rounds / batch, round(kind.macs / rounds / batch)
    cell.kinds = sorted(watch.kinds.values(), key=lambda kind: -kind.seconds)
    found, due = sum(kind.macs for kind in cell.kinds), multiply_adds(model)
    if abs(found - due) > 0.01 * due:  # a family without a plan of its own has operations that `described` does not know
        raise SystemExit(f"of {name}'s multiply-adds only {found / due:.0%} are found; choose a variant of {', '.join(MODELS)}")
    return cell


class Watch(TorchDispatchMode):
    """Times every operation and adds up those of one kind. Unlike torch's profiler it keeps nothing in memory between them,
    which would leave holes that no large block fits into."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, Kind] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        began = time.process_time()
        made = func(*args, **(kwargs or {}))
        took = time.process_time() - began
        what, macs = described(str(func.overloadpacket), [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)])
        kind = self.kinds.setdefault(what, Kind(what))
        kind.seconds += took
        kind.macs += macs
        return made


def described(name: str, shapes: Sequence[Sequence[int]]) -> tuple[str, int]:
    """In words, and its multiply-adds. shapes: of the tensors among its arguments."""
    if name == "mkldnn._linear_pointwise":
        x, *others = (shape for shape in shapes if len(shape) == 2)
        weight = others[-1]  # before it, where there is one, what is added
        what = f"product {x[0]} × {x[1]} → {weight[0]}" + (", added" if len(others) > 1 else "")
        return what, x[0] * x[1] * weight[0]
    if name == "aten.linear":
        (*rows, inputs), (outputs, _) = shapes[:2]
        return f"product of torch's {prod(rows)} × {inputs} → {outputs}", prod(rows) * inputs * outputs
    if name in ("aten.mm", "aten.bmm"):
        (*rows, inputs), (*_, outputs) = shapes[:2]
        return f"product of torch's {' × '.join(map(str, [*rows, inputs]))} → {outputs}", prod(rows) * inputs * outputs
    if name == "mkldnn._convolution_pointwise":
        (_, channels, y, x), (_, _, high, wide) = shapes[:2]
        if (high, wide) == (1, 1):
            return "norm and GELU", 0
        return f"depthwise {high} × {wide} and GELU", channels * y * x * high * wide
    return KINDS.get(name, "rest"), 0


def summary(cell: Cell) -> str:
    """How much of the time is products, how near they come to the limit, and what is left without the rest."""
    products = [kind for kind in cell.kinds if kind.what.startswith("product")]
    seconds, total = sum(kind.seconds for kind in products), sum(kind.seconds for kind in cell.kinds)
    rate, limit = sum(kind.macs for kind in products) / seconds, statistics.median(cell.limit)
    plain = statistics.median(cell.rounds)
    return (
        f"{plain * 1e3:.1f} ms an image, not timed one by one. Products: {seconds / total:.0%} of the time"
        f" at {rate / limit:.0%}"
        f" of the limit's rate ({2 * limit / 1e9:.0f} GFLOP/s); at all of it, and with nothing else,"
        f" {sum(kind.macs for kind in products) / limit * 1e3:.1f} ms."
    )


def table(cell: Cell) -> str:
    """A line for each of the costliest kinds."""
    total, limit = sum(kind.seconds for kind in cell.kinds), statistics.median(cell.limit)
    own = [kind for kind in cell.kinds if kind.what != "rest"]
    rest = Kind("rest", sum(k.seconds for k in cell.kinds if k.what == "rest") + sum(k.seconds for k in own[SHOWN:]))
    lines = [f"| {cell.model}, batch {cell.batch}, {cell.precision} | ms an image | share | GFLOP/s | of the limit |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for kind in [*own[:SHOWN], rest]:
        fast = kind.macs / kind.seconds if kind.what.startswith("product") else 0
        rate = f"{2 * fast / 1e9:.0f} | {fast / limit:.0%}" if fast else " | "
        lines.append(f"| {kind.what} | {kind.seconds * 1e3:.2f} | {kind.seconds / total:.0%} | {rate} |")
    return "\n".join([*lines, "", summary(cell)])


def page(cells: Sequence[Cell], about: dict[str, Any], machine: str | None) -> str:
    """The Markdown page."""
    tables = "\n\n".join(map(table, cells))
    return f"""# Where an engine's time goes, measured

The engine by torch alone, each operation timed, one thread of {machine or "this machine"}, torch {about["torch"]}. A product
r × i → o multiplies r rows of i numbers by a matrix, with bias and GELU or, where it says "added", a residual on the way;
the rows are those of a chunk of images. The limit is what oneDNN's products of ResMLP-S12's shapes do in the same process.
`make bench-where` measures again.

{tables}
"""


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32])
    parser.add_argument(
        "--precisions", nargs="+", choices=list(DTYPES), default=[name for name, dtype in DTYPES.items() if not broken(dtype)]
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--json", type=Path, default=Path("build/where.json"), help="where all that was measured is written")
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    parser.add_argument("--from", type=Path, dest="again", metavar="JSON", help="measure nothing; use this file")
    parser.add_argument("--machine", help="what the page calls this machine")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
