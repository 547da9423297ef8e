"""How fast `allmlp.compile` is on a GPU beside timm and torch.compile: all in one process, in turns, in bf16.

    python benchmarks/inference_gpu.py --json build/inference-gpu.json --page docs/benchmarks/inference-gpu.md

A turn is many calls one after the other, timed by CUDA events; who begins changes from round to round. timm's models get
images that are in bf16 already, ours rounds them itself. The floor is what the multiply-adds alone would take at the rate of
one large bf16 product, measured in the same turns. Cells that the JSON has already, from the same GPU and versions, are not
measured again.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import allmlp
from allmlp.data.progress import watched
from allmlp.engine.cost import multiply_adds
from allmlp.engine.environment import environment
from allmlp.engine.gpu.graphs import event_seconds
from allmlp.errors import AllmlpError
from allmlp.models.base import ImageModel
from allmlp.run import read_json, whole_file, write_json
from peers import Call, autotuned, eager
from spread import median_and_spread

MODELS = ("resmlp_s24", "mixer_b16")
BATCHES = (1, 32, 256)
ROUNDS = 9
SIDE = 8192
"""Of the square product whose rate is the floor's."""
LIMIT, BASE, COMPILED = "floor", "timm eager", "timm torch.compile max-autotune"
ENGINES = ("cuda", "compile")
BF16 = torch.bfloat16
PEERS: dict[str, Callable[[str, ImageModel, Tensor], Call]] = {
    BASE: partial(eager, dtype=BF16, order=torch.contiguous_format),
    f"{BASE} channels-last": partial(eager, dtype=BF16, order=torch.channels_last),
    COMPILED: partial(autotuned, dtype=BF16),
}


@dataclass
class Cell:
    """One model and batch, and the seconds of a batch in each turn of each contender."""

    model: str
    batch: int
    macs: int
    """Of one image."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if not torch.cuda.is_available():
        print("inference_gpu: there is no CUDA device, or this torch cannot use it", file=sys.stderr)
        return 2
    about = environment(torch.device("cuda"), "bf16") | {"rounds": given.rounds}
    cells = known(given.json, about)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    for name, batch in product(given.models, given.batches):
        if not _whole(cells.get((name, batch)), given.without):
            cells[name, batch] = measure(name, batch, given.rounds, given.without)
            found = {"environment": about, "cells": [asdict(cell) for cell in cells.values()]}
            write_json(given.json, found)  # each time: what was measured stays when the rest is interrupted
        print(table([cells[name, batch]]), flush=True)
    shown = [cells[pair] for pair in product(given.models, given.batches)]
    print("\n".join(verdicts(shown)))
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(given.page) as temporary:
            temporary.write_text(page(shown, about, given.machine), encoding="utf-8")
    return 0


def _whole(cell: Cell | None, without: Sequence[str]) -> bool:
    """Whether everybody that is wanted was measured; what failed is tried again."""
    wanted = [key for key in (*PEERS, *(f"allmlp {name}" for name in ENGINES)) if not any(word in key for word in without)]
    return cell is not None and all(key in cell.seconds for key in wanted)


def known(path: Path, about: dict[str, Any]) -> dict[tuple[str, int], Cell]:
    """(model, batch) → what an earlier run measured in the same environment."""
    if not path.is_file():
        return {}
    found = read_json(path)
    cells = [Cell(**cell) for cell in found["cells"]] if found["environment"] == about else []
    return {(cell.model, cell.batch): cell for cell in cells}


def measure(name: str, batch: int, rounds: int, without: Sequence[str]) -> Cell:
    """Everybody is built and warmed up, then all take turns."""
    torch.manual_seed(0)
    model = allmlp.create_model(name).eval()
    images = torch.randn(batch, model.in_chans, *model.img_size, device="cuda")
    cell = Cell(name, batch, multiply_adds(model))
    torch.compiler.reset()
    calls = {LIMIT: _product(), **_contenders(cell, model, images, without)}
    repeats = min(100, max(5, 1024 // batch))
    for turn in watched(range(rounds), total=rounds, what=f"{name} {batch}"):
        keys = list(calls)
        for key in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
            seconds = _turn(calls[key], 5 if key == LIMIT else repeats)
            share = 2 * cell.macs * batch / (2 * SIDE**3) if key == LIMIT else 1
            cell.seconds.setdefault(key, []).append(seconds * share)
    return cell


def _turn(call: Call, repeats: int) -> float:
    """Seconds of one of many calls. The untimed one brings weights back after the others' turns."""
    with torch.inference_mode():
        call()
        return event_seconds(lambda: [call() for _ in range(repeats)]) / repeats


def _product() -> Call:
    one, other = (torch.randn(SIDE, SIDE, device="cuda", dtype=BF16) for _ in range(2))
    return lambda: one @ other


def _contenders(cell: Cell, model: ImageModel, images: Tensor, without: Sequence[str]) -> dict[str, Call]:
    makers: dict[str, Callable[[], Call]] = {
        key: lambda make=make: make(cell.model, model, images) for key, make in PEERS.items()
    } | {f"allmlp {name}": partial(_engine, name, model, images) for name in ENGINES}
    calls: dict[str, Call] = {}
    wanted = {key: make for key, make in makers.items() if not any(word in key for word in without)}
    for key, make in watched(wanted.items(), total=len(wanted), what=f"building for {cell.model}"):
        try:
            calls[key] = make()
            _turn(calls[key], 3)
        except Exception as error:  # a contender that fails must not take the others along
            what = error.what if isinstance(error, AllmlpError) else str(error) or type(error).__name__
            cell.left_out[key] = what.strip().splitlines()[0][:160]
            calls.pop(key, None)
    return calls


def _engine(backend: str, model: ImageModel, images: Tensor) -> Call:
    engine = allmlp.compile(model, backend=backend, precision="bf16", batch=len(images), device="cuda")
    return lambda: engine(images)


def table(cells: Sequence[Cell]) -> str:
    """One row a contender, one column a cell: milliseconds a batch ± half the distance of the quartiles (× eager, share of the
    floor)."""
    keys = list(dict.fromkeys(key for cell in cells for key in cell.seconds))
    lines = [["ms a batch", *(f"{cell.model} b{cell.batch}" for cell in cells)], ["---", *["---:"] * len(cells)]]
    lines += [[key, *(_said(cell, key) for cell in cells)] for key in keys]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _said(cell: Cell, key: str) -> str:
    if key not in cell.seconds:
        return "-"
    typical, spread = median_and_spread(cell.seconds[key])
    times = _median(cell, BASE) / typical
    return f"{typical * 1e3:.3f} ± {spread * 1e3:.3f} ({times:.2f}, {_median(cell, LIMIT) / typical:.0%})"


def _median(cell: Cell, key: str) -> float:
    return statistics.median(cell.seconds[key]) if key in cell.seconds else float("nan")


def verdicts(cells: Sequence[Cell]) -> list[str]:
    """For each cell: our fastest against timm's fastest eager form, torch.compile and the floor."""
    lines = []
    for cell in cells:
        ours = {key: _median(cell, key) for key in cell.seconds if key.startswith("allmlp ")}
        if ours:
            best = min(ours, key=lambda key: ours[key])
            base = min((_median(cell, key) for key in cell.seconds if key.startswith(BASE)), default=float("nan"))
            gains = f"{base / ours[best]:.2f} × eager, {_median(cell, COMPILED) / ours[best]:.2f} × torch.compile"
            share = f"{_median(cell, LIMIT) / ours[best]:.0%} of the floor's speed"
            lines.append(f"- {cell.model}, batch {cell.batch}: {best} at {gains}, {share}")
    return lines


def page(cells: Sequence[Cell], about: dict[str, Any], machine: str | None) -> str:
    """The Markdown page."""
    missing = "".join(f"- left out: {key}, {c.model} b{c.batch}: {why}\n" for c in cells for key, why in c.left_out.items())
    return f"""# Inference on a GPU beside its peers, measured

Measured on {machine or about["device"]}, torch {about["torch"]}, timm {about["timm"]}, in bf16,
{about["rounds"]} rounds of each cell in one process in which all took turns; medians ± half the distance between the
quartiles, by CUDA events; in brackets how many times as fast as timm's eager, and the share of the floor's speed. The floor is
the multiply-adds at the rate of one large bf16 product, measured in the same turns. `make bench-gpu` measures again.

{table(cells)}

{chr(10).join(verdicts(cells))}
{missing}"""


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--without", nargs="*", default=[], metavar="WORD", help="leave out contenders whose names hold a word")
    parser.add_argument(
        "--json", type=Path, default=Path("build/inference-gpu.json"), help="where what is measured is written, and looked for"
    )
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    parser.add_argument("--machine", help="what the page calls this machine")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
