"""How the cost of an answer grows with batch, picture size, depth and threads: `allmlp.compile` beside the eager model.

    python benchmarks/growth.py --json build/growth.json --page docs/benchmarks/growth.md
    python benchmarks/growth.py --models smlpnet_t --quick

Time: in one process, in turns; one thread by the time the process had the processor, two by the clock. Memory: the most that
a process of its own holds while it answers, weights included, beyond what it holds after answering with a tiny model.
Engines need torch alone here, so that the curves are of the plans and not of a library.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import allmlp
from allmlp.data.progress import watched
from allmlp.engine.backends.base import DTYPES
from allmlp.engine.cost import multiply_adds
from allmlp.engine.device import threads_used
from allmlp.engine.environment import environment
from allmlp.engine.memory import resident_bytes
from allmlp.engine.plans.products import broken
from allmlp.models.base import ImageModel
from allmlp.run import read_json, whole_file, write_json
from growth_chart import chart
from peers import eager
from spread import median_and_spread

MODELS = ("resmlp_s12", "mixer_s16", "smlpnet_t")
BATCH, SIDE, THREADS, ROUNDS = 8, 224, 1, 3
"""What stays while something else grows."""
AXES: dict[str, tuple[int, ...]] = {
    "batch": (1, 4, 16, 64, 256),
    "side": (128, 160, 224, 288, 384),
    "depth": (12, 24, 36),
    "threads": (1, 2),
}
QUICK: dict[str, tuple[int, ...]] = {"batch": (1, 4, 16), "side": (128, 224), "depth": (12, 24), "threads": (1, 2)}
EAGER = "eager fp32"
CONTENDERS = (EAGER, *(f"allmlp {name}" for name, dtype in DTYPES.items() if not broken(dtype)))
"""Those that this processor and this torch have."""


@dataclass
class Point:
    """One model at one place of one axis."""

    model: str
    axis: str
    value: int
    macs: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """Of one image, in each turn."""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes, where memory was asked for."""


@dataclass(frozen=True)
class Setting:
    """What is measured: the model, and how many images of which size reach it at once."""

    model: str
    batch: int = BATCH
    side: int = SIDE
    depth: int | None = None
    threads: int = THREADS

    def made(self) -> ImageModel:
        """With random weights. The depth of sMLPNet is that of its four stages, which keep their proportions."""
        torch.manual_seed(0)
        words: dict[str, Any] = {"img_size": self.side}
        if self.depth is not None:
            shares = (2, 8, 14, 2)  # smlpnet_t's
            words |= (
                {"depths": tuple(max(1, round(share * self.depth / sum(shares))) for share in shares)}
                if self.model.startswith("smlpnet")
                else {"depth": self.depth}
            )
        return allmlp.create_model(self.model, **words).eval().requires_grad_(False)

    def images(self, model: ImageModel) -> Tensor:  # → b c h w
        return torch.randn(self.batch, model.in_chans, *model.img_size)


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if given.again is None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment(torch.device("cpu"), "see the rows") | {"rounds": given.rounds}
        points = []
        axes = QUICK if given.quick else AXES
        for name, axis in product(given.models, given.axes):
            for value in axes[axis]:
                points.append(measure(Setting(name, **{axis: value}), axis, value, given.rounds))
                print(said(points[-1]), flush=True)
                found = {"environment": about, "points": [asdict(point) for point in points]}
                write_json(given.json, found)
    else:
        found = read_json(given.again)
        points = [Point(**point) for point in found["points"]]
        print("\n".join(said(point) for point in points))
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        figure = given.page.with_suffix(".svg")
        with whole_file(figure) as temporary:
            chart([asdict(point) for point in points], tuple(points[0].seconds), temporary)
        with whole_file(given.page) as temporary:
            temporary.write_text(page(points, found["environment"], given.machine, figure.name), encoding="utf-8")
    return 0


def measure(setting: Setting, axis: str, value: int, rounds: int) -> Point:
    """Everybody is built and warmed up, then all take turns; memory, where batches grow, in processes of their own."""
    model = setting.made()
    images = setting.images(model)
    point = Point(setting.model, axis, value, multiply_adds(model))
    clock = time.process_time if setting.threads == 1 else time.perf_counter
    with threads_used(setting.threads), torch.inference_mode():
        calls = {key: contender(key, setting, model, images) for key in CONTENDERS}
        for call in calls.values():
            call()
        for turn in watched(range(rounds), total=rounds, what=f"{setting.model}, {axis} {value}"):
            for key in CONTENDERS[turn % len(CONTENDERS) :] + CONTENDERS[: turn % len(CONTENDERS)]:
                started = clock()
                calls[key]()
                point.seconds.setdefault(key, []).append((clock() - started) / setting.batch)
    if axis == "batch":
        point.memory = {key: peak(key, setting) for key in CONTENDERS}
    return point


def contender(key: str, setting: Setting, model: ImageModel, images: Tensor) -> Callable[[], object]:
    """timm's own network, where timm has it at this size and depth; our engine with torch alone."""
    who, precision = key.split()
    if who == "eager":
        usual = setting.side == SIDE and setting.depth is None
        return eager(setting.model if usual else "", model, images, dtype=torch.float32)
    engine = allmlp.compile(
        model, backend="torch", precision=precision, batch=setting.batch, threads=setting.threads, keep=False
    )
    return lambda: engine(images)


def peak(key: str, setting: Setting) -> int:
    """Bytes at the worst moment of an answer, in a process that does nothing else."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_peak, args=(key, setting, sender))
    process.start()
    sender.close()
    try:
        return int(receiver.recv())
    finally:
        process.join()


def _peak(key: str, setting: Setting, sender: Any) -> None:
    small = Setting("smlpnet_xs" if setting.model.startswith("smlpnet") else "resmlp_xs", batch=1, side=32)
    with torch.inference_mode():  # whatever code is loaded with the first answer is no part of this one's
        model = small.made()
        contender(key, small, model, small.images(model))()
    del model
    nothing = _resident_now()
    model = setting.made()
    images = setting.images(model)
    with threads_used(setting.threads), torch.inference_mode():
        call = contender(key, setting, model, images)
        del model
        _forget_peak()
        call()
    sender.send(resident_bytes() - nothing)


def _forget_peak() -> None:
    """Building, and comparing with the model, took memory of its own: from here on the system counts anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _resident_now() -> int:
    _forget_peak()
    return resident_bytes()


def said(point: Point) -> str:
    parts = []
    base = median_and_spread(point.seconds[EAGER])[0]
    for key, seconds in point.seconds.items():
        typical, spread = median_and_spread(seconds)
        held = f", {point.memory[key] / 2**20:,.0f} MiB" if point.memory else ""
        parts.append(f"{key} {typical * 1e3:.1f} ± {spread * 1e3:.1f} ms ({base / typical:.2f} ×{held})")
    return f"{point.model}, {point.axis} {point.value}: " + "; ".join(parts)


def page(points: Sequence[Point], about: dict[str, Any], machine: str | None, figure: str) -> str:
    """The Markdown page."""
    return f"""# How cost grows, measured

Measured on {machine or "this machine"}, torch {about["torch"]}, {about["rounds"]} rounds in one process in which all took
turns; medians ± half the distance between the quartiles, in brackets how many times as fast as the eager model in float32.
{BATCH} images of {SIDE} × {SIDE} pixels at a time on one thread, but for what grows. One thread is timed by the time the
process had the processor, two by the clock. Engines with torch alone; memory is the most that a process held while it answered,
weights included, beyond what it held after answering with a tiny model. `make bench-growth` measures again.

![How time an image and memory grow]({figure})

{chr(10).join(table(points, axis) for axis in dict.fromkeys(point.axis for point in points))}"""


def table(points: Sequence[Point], axis: str) -> str:
    """One row a model and value of the axis."""
    heads = ["model", axis, "G multiply-adds", *(f"{key}, ms an image (×)" for key in points[0].seconds)]
    heads += [f"{key}, MiB" for key in points[0].seconds if axis == "batch"]
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1)]
    for point in (point for point in points if point.axis == axis):
        base = median_and_spread(point.seconds[EAGER])[0]
        cells = []
        for key in points[0].seconds:
            typical, spread = median_and_spread(point.seconds[key])
            cells.append(f"{typical * 1e3:.1f} ± {spread * 1e3:.1f} ({base / typical:.2f})")
        cells += [f"{size / 2**20:,.0f}" for size in point.memory.values()]
        lines.append([point.model, str(point.value), f"{point.macs / 1e9:.2f}", *cells])
    return f"## {axis.capitalize()}\n\n" + "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="fewer places on each axis")
    parser.add_argument("--json", type=Path, default=Path("build/growth.json"), help="where all that was measured is written")
    parser.add_argument("--page", type=Path, help="the Markdown page to write, with its figure beside it")
    parser.add_argument("--from", type=Path, dest="again", metavar="JSON", help="measure nothing; use this file")
    parser.add_argument("--machine", help="what the page calls this machine")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
