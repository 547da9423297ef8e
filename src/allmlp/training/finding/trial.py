"""One batch size, tried in a process of its own: `python -m allmlp.training.finding.trial PARENT`; a request in, an answer out.

The steps are those of a real run, on random images, so that weights, gradients, the optimiser's state, averages and a
teacher all take their room. Where there is too little, the process is lost and nothing else.
"""

import json
import os
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from queue import Queue

import numpy as np
import torch

from allmlp.data.images import ArrayImages, Source
from allmlp.data.loader import Batch
from allmlp.engine.memory import resident_bytes
from allmlp.errors import AllmlpError, RecipeError
from allmlp.orphans import end_with
from allmlp.recipe import recipe_from
from allmlp.strict_json import to_json
from allmlp.training.freeze import learning
from allmlp.training.plan import Plan
from allmlp.training.setup import make_plan
from allmlp.training.start import start_from
from allmlp.training.step import update

UNTIMED, TIMED = 2, 2
"""Steps before the clock starts (the first makes the optimiser's state), and the least number after."""
LOOK_EVERY = 0.01
"""Seconds between looks at what the process holds."""
TOO_LARGE = 17
"""Exit status of a process that held more than it may."""
REFUSALS = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
"""Of torch's allocators, in lower case."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to try."""

    recipe: str
    """TOML."""
    classes: Sequence[str]
    in_chans: int
    img_size: Sequence[int] | None
    """(height, width) of the data's images where they all have one small size."""
    batch: int
    memory: int | None
    """Bytes that may be held: by this process on a CPU, by torch on an accelerator (None: all it has)."""
    seconds: float
    """For how long steps are timed, at least."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it."""

    fits: bool
    peak_bytes: int = 0
    images_per_s: float = 0.0
    device: str = ""
    error: tuple[str, str] | None = None
    """What is wrong and how to fix it, where the recipe cannot be tried at any size."""


def tried(request: Request) -> Answer:
    """Raises AllmlpError for a recipe that cannot be tried, and RuntimeError or MemoryError where there is no room."""
    recipe = recipe_from(tomllib.loads(request.recipe))
    if recipe.dino is not None:
        raise RecipeError(
            "batches are tried with labels, and this recipe has none", hint="try allmlp pretrain with --train.batch"
        )
    data = replace(recipe.data, workers=0)
    train = replace(recipe.train, batch=request.batch, limit=None, shots=None, sizes=(), compile=False)
    recipe = replace(recipe, data=data, train=train)
    source, start = _random_source(request), None
    if recipe.init is not None:
        recipe, start = start_from(recipe, source)
    if torch.cuda.is_available() and request.memory is not None:
        torch.cuda.set_per_process_memory_fraction(min(request.memory / torch.cuda.mem_get_info()[1], 1.0))
    plan = make_plan(recipe, source, start)
    batch = _random_batch(plan, request.batch)
    learning(plan.model)
    steps = 0
    began = time.perf_counter()
    while steps < UNTIMED + TIMED or time.perf_counter() - began < request.seconds:
        if steps == UNTIMED:
            began = time.perf_counter()
        float(update(plan, batch, steps % plan.steps, mixing=True).loss)  # which waits for the device
        steps += 1
    rate = (steps - UNTIMED) * request.batch / (time.perf_counter() - began)
    on_cpu = plan.device.type == "cpu"
    peak = resident_bytes() if on_cpu else torch.cuda.max_memory_reserved()
    device = "cpu" if on_cpu else torch.cuda.get_device_name()
    return Answer(fits=True, peak_bytes=peak, images_per_s=rate, device=device)


def _random_source(request: Request) -> Source:
    """As many images as the batch, which are never looked at: one pixel stands for all."""
    pixels = np.broadcast_to(np.zeros((1, 1, 1, 3), dtype=np.uint8), (request.batch, 1, 1, 3))
    images = ArrayImages(pixels, np.zeros(request.batch, dtype=np.int64), "random")
    size = None if request.img_size is None else (request.img_size[0], request.img_size[1])
    return Source(
        title="random images",
        classes=tuple(request.classes),
        train=images,
        val=images,
        split="none",
        in_chans=request.in_chans,
        img_size=size,
    )


def _random_batch(plan: Plan, count: int) -> Batch:
    model = plan.model
    images, labels = torch.randn(count, model.in_chans, *model.img_size), torch.randint(model.num_classes, (count,))
    return Batch(images, labels, torch.arange(count), [])


def _end_above(most: int) -> None:
    """End this process as soon as it holds more, before the system has to choose one."""

    def look() -> None:
        while resident_bytes() <= most:
            time.sleep(LOOK_EVERY)
        os._exit(TOO_LARGE)

    threading.Thread(target=look, daemon=True).start()


_lines: Queue[bytes] = Queue()
"""The first line of stdin, once it is there."""


def _wait_for_the_end_of_stdin() -> None:
    """Of the file descriptor: Python's own stdin would be locked as the process ends."""
    read = b""
    while content := os.read(0, 65536):
        read += content
        line, end, read = read.partition(b"\n")
        if end:
            _lines.put(line)
        else:
            read = line


def main() -> None:
    """Answer one request: the first line of stdin → the last line of stdout. PARENT is the process that holds the other end
    of stdin, and lives longer."""
    end_with(int(sys.argv[1]), _wait_for_the_end_of_stdin)
    request = Request(**json.loads(_lines.get()))
    if request.memory is not None and not torch.cuda.is_available():
        _end_above(request.memory)
    try:
        answer = tried(request)
    except AllmlpError as error:
        answer = Answer(fits=False, error=(error.what, error.hint))
    except MemoryError:
        answer = Answer(fits=False)
    except RuntimeError as error:
        if not any(words in str(error).lower() for words in REFUSALS):
            raise
        answer = Answer(fits=False)
    print(to_json(asdict(answer)))


if __name__ == "__main__":
    main()
