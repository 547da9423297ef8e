"""How fast `allmlp.compile` is beside timm, torch.compile, ONNX Runtime and OpenVINO: all in one process, in turns.

    python benchmarks/inference.py --json build/inference.json --page docs/benchmarks/inference.md
    python benchmarks/inference.py --models resmlp_s12 --quick

One thread is measured by the time the process had the processor, several by the clock. Peers get timm's model where timm
has it, else ours, unfolded; allmlp's engines are built from ours, with the same number of multiply-adds. The limit is the
multiply-adds at the rate of each library's products, measured between the turns. What is not installed is named.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import groupby, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import allmlp
from allmlp.data.progress import watched
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.cost import multiply_adds
from allmlp.engine.device import threads_used
from allmlp.engine.environment import environment
from allmlp.engine.plans.products import Product, broken
from allmlp.errors import AllmlpError
from allmlp.models.base import ImageModel
from allmlp.run import read_json, whole_file, write_json
from peers import PEERS, Call
from spread import median_and_spread

MODELS = ("resmlp_s12", "mixer_s16", "smlpnet_t")
BATCHES = (1, 32)
ROUNDS = 7
QUICK: dict[str, Any] = dict(threads=[1], batches=[1, 8], rounds=3, without=["compile"])
"""What `--quick` takes for whatever else was not said."""
SHAPES = ((1568, 384, 1536), (1568, 1536, 384), (196, 196, 3072))
"""Rows, inputs, outputs of the products whose rates are the limit: ResMLP's own."""
LIMITS = ("limit F.linear fp32", "limit oneDNN fp32", "limit oneDNN bf16")
BASE = "eager fp32"


@dataclass
class Cell:
    """One model, batch and number of threads, and the seconds of an image in each turn of each contender."""

    model: str
    batch: int
    threads: int
    macs: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if given.again is None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment(torch.device("cpu"), "see the rows") | {"rounds": given.rounds}
        cells = []
        for threads, name, batch in product(given.threads, given.models, given.batches):
            cells.append(measure(name, batch, threads, given.rounds, given.without))
            print(table(cells[-1:]), flush=True)
            found = {"environment": about, "cells": [asdict(cell) for cell in cells]}
            write_json(given.json, found)  # each time: what was measured stays when the rest is interrupted
    else:
        parts = [read_json(path) for path in given.again]
        found, cells = parts[0], [Cell(**cell) for part in parts for cell in part["cells"]]
        cells.sort(key=lambda cell: (cell.threads, list(MODELS).index(cell.model) if cell.model in MODELS else -1, cell.batch))
        print(table(cells))
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(given.page) as temporary:
            temporary.write_text(page(cells, found["environment"], given.machine), encoding="utf-8")
    return 0


def measure(name: str, batch: int, threads: int, rounds: int, without: Sequence[str]) -> Cell:
    """Everybody is built and warmed up, then all take turns; who begins changes from round to round."""
    torch.manual_seed(0)
    model = allmlp.create_model(name).eval()
    images = torch.randn(batch, model.in_chans, *model.img_size)
    cell = Cell(name, batch, threads, multiply_adds(model))
    clock = time.process_time if threads == 1 else time.perf_counter
    torch.compiler.reset()  # of one piece of Python, ImageModel's, torch keeps eight versions and runs the ninth uncompiled
    with threads_used(threads):
        calls = {**limits(), **_contenders(cell, model, images, without)}
        for turn in watched(range(rounds), total=rounds, what=f"{name} {batch}×{threads}"):
            keys = list(calls)
            for key in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
                call, share = calls[key], _share(key, cell)
                with torch.inference_mode():
                    started = clock()
                    call()
                    cell.seconds.setdefault(key, []).append((clock() - started) / share)
    return cell


def _share(key: str, cell: Cell) -> float:
    """By what a turn's seconds are divided: the images, or for a product the images its multiply-adds would be enough for."""
    return REPEATS * sum(r * i * o for r, i, o in SHAPES) / cell.macs if key in LIMITS else cell.batch


REPEATS = 3
ENOUGH_TO_SET = 64
"""Images of noise by which int8 is set."""


def limits() -> dict[str, Call]:
    """The limit: nothing but matmuls, whose weights are laid out beforehand, as far as each library does that.

    Those that this processor and this torch do not have are left out.
    """
    calls: dict[str, Call] = {}
    for key, dtype in zip(LIMITS, (torch.float32, torch.float32, torch.bfloat16), strict=True):
        if "oneDNN" in key and broken(dtype):
            continue
        runs: list[Call] = []
        for rows, inputs, outputs in SHAPES:
            x, weight, bias = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs), torch.randn(outputs)
            if "F.linear" in key:
                runs.append(partial(F.linear, x, weight, bias))
            else:
                runs.append(partial(Product(weight, bias, rows=rows, dtype=dtype), x))
        calls[key] = lambda runs=runs: [run() for run in runs for _ in range(REPEATS)]
        calls[key]()
    return calls


def _contenders(cell: Cell, model: ImageModel, images: Tensor, without: Sequence[str]) -> dict[str, Call]:
    makers: dict[str, Callable[[], Call]] = {
        key: lambda make=make: make(cell.model, model, images) for key, make in PEERS.items()
    }
    for backend in (b for b in BACKENDS.values() if b.name != "eager" and "cpu" in b.devices):
        for precision in backend.precisions:
            makers[f"allmlp {backend.name} {precision}"] = lambda b=backend.name, p=precision: _engine(b, p, model, images)
    calls: dict[str, Call] = {}
    wanted = {key: make for key, make in makers.items() if not any(word in key for word in without)}
    for key, make in watched(wanted.items(), total=len(wanted), what=f"building for {cell.model}"):
        try:
            calls[key] = make()
            with torch.inference_mode():
                calls[key]()
        except Exception as error:  # a contender that is not installed or fails must not take the others along
            what = error.what if isinstance(error, AllmlpError) else str(error) or type(error).__name__
            cell.left_out[key] = what.strip().splitlines()[0][:160]
            calls.pop(key, None)
    return calls


def _engine(backend: str, precision: str, model: ImageModel, images: Tensor) -> Call:
    words: dict[str, Any] = {}
    if precision == "int8":  # weights are random here: with one label for all, no accuracy is lost, and speed is what is asked
        many = torch.randn(ENOUGH_TO_SET, *images.shape[1:])
        words = dict(calibration=many, labels=torch.zeros(len(many), dtype=torch.long))
    engine = allmlp.compile(model, backend=backend, precision=precision, batch=len(images), **words)
    return lambda: engine(images)


def table(cells: Sequence[Cell]) -> str:
    """One row a contender, one column a cell: milliseconds an image ± half the distance of the quartiles, × timm eager."""
    keys = list(dict.fromkeys(key for cell in cells for key in cell.seconds))
    heads = [f"{cell.model} b{cell.batch}, {_threads(cell)}" for cell in cells]
    lines = [["ms an image (× eager)", *heads], ["---", *["---:"] * len(cells)]]
    lines += [[key, *(_said(cell, key) for cell in cells)] for key in keys]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _threads(cell: Cell) -> str:
    return "1 thread" if cell.threads == 1 else f"{cell.threads} threads"


def _said(cell: Cell, key: str) -> str:
    if key not in cell.seconds:
        return "-"
    typical, spread = median_and_spread(cell.seconds[key])
    times = statistics.median(cell.seconds[BASE]) / typical if BASE in cell.seconds else float("nan")
    return f"{typical * 1e3:.1f} ± {spread * 1e3:.1f} ({times:.2f})"


def verdicts(cells: Sequence[Cell]) -> list[str]:
    """For each cell and precision: our best against the best peer's, and our share of the limit."""
    lines = []
    for cell in cells:
        for precision in ("fp32", "bf16", "int8"):
            ours, peers = _best(cell, precision, ours=True), _best(cell, precision, ours=False)
            if ours is None or peers is None:
                continue
            limit = cell.seconds.get(f"limit oneDNN {precision}")  # int8 products have none of their own here
            share = f", {statistics.median(limit) / ours[1]:.0%} of the limit" if limit else ""
            lines.append(
                f"- {cell.model}, batch {cell.batch}, {_threads(cell)}, {precision}: {ours[0]} at {peers[1] / ours[1]:.2f} ×"
                f" the best peer ({peers[0]}){share}"
            )
    return lines


def _best(cell: Cell, precision: str, *, ours: bool) -> tuple[str, float] | None:
    found = {
        key: statistics.median(seconds)
        for key, seconds in cell.seconds.items()
        if key not in LIMITS and key.endswith(precision) and key.startswith("allmlp ") == ours
    }
    return min(found.items(), key=lambda item: item[1]) if found else None


def page(cells: Sequence[Cell], about: dict[str, Any], machine: str | None) -> str:
    """The Markdown page."""
    left_out = {
        f"{key}, {cell.model} b{cell.batch}, {_threads(cell)}": why for cell in cells for key, why in cell.left_out.items()
    }
    missing = "".join(f"- left out: {key}: {why}\n" for key, why in left_out.items())
    rounds = "-".join(map(str, sorted({len(seconds) for cell in cells for seconds in cell.seconds.values()})))
    tables = [table(list(group)) for _, group in groupby(cells, key=lambda cell: cell.threads)]
    return f"""# Inference beside its peers, measured

Measured on {machine or "this machine"}, torch {about["torch"]}, timm {about["timm"]}, {rounds} rounds of each cell
in one process in which all took turns; medians ± half the distance between the quartiles, in brackets how many times as fast as
eager float32.
One thread is timed by the time the process had the processor, more by the clock. `make bench` measures again.
"limit" is what the multiply-adds alone would take at the rate of that library's products, measured in the same turns.

{(2 * chr(10)).join(tables)}

{chr(10).join(verdicts(cells))}
{missing}"""


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--without", nargs="*", default=[], metavar="WORD", help="leave out contenders whose names hold a word")
    parser.add_argument("--quick", action="store_true", help="a few minutes: one thread, fewer rounds, no torch.compile")
    parser.add_argument(
        "--json", type=Path, default=Path("build/inference.json"), help="where all that was measured is written"
    )
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    parser.add_argument("--from", type=Path, nargs="+", dest="again", metavar="JSON", help="measure nothing; use these files")
    parser.add_argument("--machine", help="what the page calls this machine")
    given = parser.parse_args(words)
    if given.quick:
        parser.set_defaults(**QUICK)
        given = parser.parse_args(words)
    return given


if __name__ == "__main__":
    sys.exit(main())
