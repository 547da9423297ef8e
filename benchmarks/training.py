"""How fast a training step is beside timm's, data and all, and how fast pictures get in: one process, one thread, in turns.

    python benchmarks/training.py --json build/training.json --page docs/benchmarks/training.md
    python benchmarks/training.py --cases resmlp_xs --pictures FOLDER --quick

Times are those for which the process had the processor. Both sides get the same pictures, augmentation, precision (float32, or
bf16 by autocast), optimiser, clipping, EMA and mixing, and torch.compile where it says so; timm's side is made of what its
train.py calls. Pictures are a folder of class folders, for the models at 224 pixels and for the data path; without one they are
drawn, 300 × 240 as JPEG. Small models get drawn PNGs of 32 × 32, which allmlp decodes once, before the first step, and timm
whenever their turn comes.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform

from allmlp.data.keys import seed_everything
from allmlp.data.progress import watched
from allmlp.data.transforms import training_transform
from allmlp.engine.device import threads_used
from allmlp.engine.environment import environment
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.read import read_image
from allmlp.recipe import Augment, Recipe, recipe_from
from allmlp.run import read_json, whole_file, write_json
from spread import median_and_spread
from training_loops import AllmlpLoop, TimmLoop

MODELS = {"resmlp_s12": (224, 16), "resmlp_xs": (32, 128), "mixer_xs": (32, 128), "smlpnet_xs": (32, 128)}
"""Model → pixels a side, images a step."""
CASES = (
    *MODELS,
    "resmlp_xs:augmented",
    "mixer_xs:augmented",
    "resmlp_s12:bf16",
    "resmlp_s12:bf16:compiled",
    "resmlp_xs:compiled",
    "smlpnet_xs:compiled",
)
"""Models, plain or in ways that both sides have. Small pictures are shifted by up to 4 pixels and mirrored; "augmented" they
are what timm's train.py makes of pictures by default: random parts of them, mirrored, in other colours."""
WAYS = {
    "evaluation": None,
    "training": Augment(crop="resized", color_jitter=0.4, erase=0.25),
    "randaugment": Augment(
        crop="resized", auto="rand-m9-mstd0.5", erase=0.25
    ),  # its usual form, "-inc1", makes timm 1.0.31 crash with Pillow 13
}
"""How pictures get in → how they are changed. RandAugment without "-inc1", with which timm 1.0.31 crashes on Pillow 13."""
LOOPS: dict[str, Callable[[Recipe, Path], Any]] = {"timm": TimmLoop, "allmlp": AllmlpLoop}
ROUNDS, QUICK_ROUNDS = 9, 5
WARM = 1
"""Steps of each before any is timed."""
PATH_IMAGES = 64
"""Pictures a turn of the data path."""
TARGETS = {
    "resmlp_s12": 1.5,
    "resmlp_s12:bf16:compiled": 1.1,
    "resmlp_xs": 2.0,
    "mixer_xs": 2.0,
    "smlpnet_xs": 2.0,
    "resmlp_xs:augmented": 2.0,
    "mixer_xs:augmented": 2.0,
    "evaluation": 2.0,
    "training": 1.3,
    "randaugment": 1.3,
}
"""How many times as fast as timm it was meant to be."""


@dataclass
class Cell:
    """What was measured of one case, or of one of WAYS."""

    name: str
    batch: int
    """Images a step; 1 on the data path."""
    pixels: int
    seconds: dict[str, list[float]] = field(default_factory=dict)
    """For an image, in each turn of each side."""
    waited: dict[str, list[float]] = field(default_factory=dict)
    """Of these, until its batch was there."""


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if given.again is None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment(torch.device("cpu"), "fp32") | {"rounds": given.rounds}
        cells: list[Cell] = []
        with threads_used(1), tempfile.TemporaryDirectory() as temporary:
            large = given.pictures or drawn(Path(temporary) / "large", 24, (300, 240), ".jpg")
            small = drawn(Path(temporary) / "small", 400, (32, 32), ".png")
            measures = [lambda name=name: measured(name, large, small, given.rounds) for name in given.cases]
            measures += [lambda way=way: path_measured(way, large, given.rounds) for way in WAYS]
            for measure in measures:
                cells.append(measure())
                print(table(cells[-1:]), flush=True)
                found = {"environment": about, "cells": [asdict(cell) for cell in cells]}
                write_json(given.json, found)  # each time: what was measured stays when the rest is interrupted
    else:
        found = read_json(given.again)
        cells = [Cell(**cell) for cell in found["cells"]]
        print(table(cells))
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(given.page) as temporary_page:
            temporary_page.write_text(page(cells, found["environment"], given.machine), encoding="utf-8")
    return 0


def drawn(folder: Path, each: int, size: tuple[int, int], suffix: str) -> Path:
    """A folder of four classes of pictures that compress as photographs do: coarse noise, enlarged, and a little fine noise.

    size: (width, height).
    """
    generator = np.random.default_rng(0)
    for number in range(4 * each):
        coarse = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(coarse) + generator.normal(0, 6, (size[1], size[0], 3))
        path = folder / f"class{number % 4}" / f"{number}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, **({"quality": 90} if suffix == ".jpg" else {}))
    return folder


def recipe_for(case: str) -> Recipe:
    """timm's defaults for large pictures, the usual ones for small; mixup, CutMix, clipping and EMA for all."""
    name, *ways = case.split(":")
    size, batch = MODELS[name]
    how = {"precision": "bf16" if "bf16" in ways else "fp32", "compile": "compiled" in ways}
    shapes = {"color_jitter": 0.4, "erase": 0.25, "crop": "resized"} if size > 64 else {"crop": "pad", "padding": 4}
    shapes = {"color_jitter": 0.4, "crop": "resized"} if "augmented" in ways else shapes
    return recipe_from(
        {
            "model": name,
            "data": {"img_size": [size, size], "in_chans": 3, "workers": 0},
            "augment": {"mixup": 0.8, "cutmix": 1.0, "flip": 0.5, **shapes},
            "optim": {"name": "adamw", "clip": 1.0},
            "train": {"batch": batch, "ema": 0.9998, "smoothing": 0.1, **how},
        }
    )


def measured(name: str, large: Path, small: Path, rounds: int) -> Cell:
    """Both loops are built and warmed up, then take turns; who begins changes from round to round.

    The first step of a turn is not counted: the other loop may have given back what this one would have kept.
    """
    torch.manual_seed(0)
    recipe, (size, batch) = recipe_for(name), MODELS[name.partition(":")[0]]
    folder = large if size > 64 else small
    cell, loops = Cell(name, batch, size), {side: make(recipe, folder) for side, make in LOOPS.items()}
    for loop in loops.values():
        for _ in range(WARM):
            loop.step()
    for turn in watched(range(rounds), total=rounds, what=f"{name} at {size}"):
        for side in sorted(loops, reverse=bool(turn % 2)):
            with loops[side].around():
                loops[side].step()
                began = time.process_time()
                images, waited = loops[side].step()
                took = time.process_time() - began
            cell.seconds.setdefault(side, []).append(took / images)
            cell.waited.setdefault(side, []).append(waited / images)
    return cell


def path_measured(way: str, folder: Path, rounds: int) -> Cell:
    """Files → tensors of 224 × 224, one by one, by timm's transforms and by allmlp's."""
    spec, changes = Preprocessing(img_size=(224, 224)), WAYS[way]
    common: dict[str, Any] = dict(
        input_size=(3, *spec.img_size), interpolation=spec.interpolation, mean=spec.mean, std=spec.std
    )
    theirs: Callable[[Image.Image], object]
    ours: Callable[[Image.Image], object]
    if changes is None:
        theirs, ours = create_transform(**common, is_training=False, crop_pct=spec.crop_ratio), spec
    else:
        policy: dict[str, Any] = dict(auto_augment=changes.auto or None, color_jitter=changes.color_jitter or None)
        theirs = create_transform(**common, **policy, is_training=True, re_prob=changes.erase, re_mode="pixel")
        ours = training_transform(changes, spec)

    def timm_side(path: Path) -> object:
        with Image.open(path) as image:
            return theirs(image.convert("RGB"))

    sides: dict[str, Callable[[Path], object]] = {"timm": timm_side, "allmlp": lambda path: ours(read_image(path, 3))}
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")][:PATH_IMAGES]
    cell = Cell(way, 1, 224)
    for turn in watched(range(rounds + 1), total=rounds + 1, what=f"{way} transforms"):
        for side in sorted(sides, reverse=bool(turn % 2)):
            seed_everything(turn, "image")  # the same parts of the same pictures for both
            began = time.process_time()
            for path in paths:
                sides[side](path)
            if turn:  # the first is to warm up
                cell.seconds.setdefault(side, []).append((time.process_time() - began) / len(paths))
    return cell


def table(cells: Sequence[Cell]) -> str:
    """One row a cell: images/s and milliseconds an image ± half the distance of the quartiles, and what waits for data."""
    head = ["", "timm images/s (ms)", "allmlp images/s (ms)", "times", "target", "timm waits for data", "allmlp waits for data"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for cell in cells:
        named = cell.name.replace(":", ", ")
        what = f"{named} at {cell.pixels}, batch {cell.batch}" if cell.waited else f"{named} transforms, JPEG files"
        shares = [f"{share(cell, side):.0%}" if cell.waited else "" for side in LOOPS]
        lines.append([what, *(_said(cell, side) for side in LOOPS), f"{times(cell):.2f}", _target(cell), *shares])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _said(cell: Cell, side: str) -> str:
    typical, spread = median_and_spread(cell.seconds[side])
    return f"{1 / typical:,.1f} ({typical * 1e3:.2f} ± {spread * 1e3:.2f})"


def _target(cell: Cell) -> str:
    return f"{TARGETS[cell.name]:g}" if cell.name in TARGETS else ""


def times(cell: Cell) -> float:
    """How many times as fast as timm allmlp is, by the medians."""
    return statistics.median(cell.seconds["timm"]) / statistics.median(cell.seconds["allmlp"])


def share(cell: Cell, side: str) -> float:
    """Of a step's time, how much passed until its batch was there."""
    return statistics.median(cell.waited[side]) / statistics.median(cell.seconds[side])


def loading(cells: Sequence[Cell]) -> list[str]:
    """How fast each side gets batches, in sentences."""
    lines = []
    for cell in (cell for cell in cells if cell.name in MODELS or "augmented" in cell.name):
        theirs, ours = (statistics.median(cell.waited[side]) for side in LOOPS)
        named = cell.name.replace(":", ", ")
        lines.append(
            f"- batches for {named} at {cell.pixels}: allmlp {1 / ours:,.0f}, timm {1 / theirs:,.0f} images/s a core,"
            f" {theirs / ours:.1f} times as fast"
        )
    return lines


def page(cells: Sequence[Cell], about: dict[str, Any], machine: str | None) -> str:
    """The Markdown page."""
    missed = [cell.name for cell in cells if cell.name in TARGETS and times(cell) < TARGETS[cell.name]]
    return f"""# Training beside timm, measured

Measured on {machine or "this machine"}, torch {about["torch"]}, timm {about["timm"]}, float32 unless said, one thread,
{about["rounds"]} rounds in one process in which both took turns; by the time the process had the processor, medians ± half
the distance between the quartiles. A step is batch, forward, backward, clipping, AdamW, EMA, with mixup and CutMix. timm's side
is what its `train.py` calls, with timm's own network, for sMLPNet the release's. allmlp's keeps freed memory, as its training
does; the first step of a turn is not counted. Pictures of 32 pixels are shifted and mirrored; where it says "augmented" they
are random parts, mirrored, in other colours, which is timm's default but for the filter, the model's here.
`make bench-training` measures again.

{table(cells)}

{chr(10).join(loading(cells))}

Small pictures are decoded once and changed a batch at a time; timm decodes and changes each whenever its turn comes.
Both "compiled" are by torch.compile, whose making of the code is not counted.
Targets not reached: {", ".join(missed) or "none"}.
"""


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES), help="a model, plain or in bf16 or compiled")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="JPEG files in class folders, in place of drawn ones")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer rounds")
    parser.add_argument("--json", type=Path, default=Path("build/training.json"), help="where all that was measured is written")
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    parser.add_argument("--from", type=Path, dest="again", metavar="JSON", help="measure nothing; use this file")
    parser.add_argument("--machine", help="what the page calls this machine")
    given = parser.parse_args(words)
    if given.quick:
        parser.set_defaults(rounds=QUICK_ROUNDS)
        given = parser.parse_args(words)
    return given


if __name__ == "__main__":
    sys.exit(main())
