"""What many tests share that is no fixture."""

import os
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from allmlp.engine.abilities import Abilities
from allmlp.models import create_model
from allmlp.run import Run, read_lines
from allmlp.training.display import Display

PictureFolder = Callable[..., Path]


def picture(number: int, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> Image.Image:
    """Noise that no other number gives; size is (width, height)."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def benchmark(name: str) -> ModuleType:
    """benchmarks/NAME.py; what lies beside it is found, as when python runs it."""
    script = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
    spec = spec_from_file_location(name, script)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses, and processes that the script starts, look
    sys.path.insert(0, str(script.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(script.parent))
    return module


def columns_first(given: Image.Image, size: tuple[int, int], mode: str) -> Image.Image:
    """Resized by Pillow, in the order it always had before version 13; size is (height, width)."""
    resample = Image.Resampling[mode.upper()]
    return given.resize((size[1], given.height), resample).resize(size[::-1], resample)


def levels_apart(pixels: Tensor, due: Image.Image) -> NDArray[np.int64]:  # c h w of uint8 → h w c
    """Grey levels between pixels and a picture of their shape."""
    made = pixels.permute(1, 2, 0).numpy()
    assert made.dtype == np.uint8
    assert made.shape == (due.height, due.width, len(due.getbands()))
    return np.abs(made.astype(np.int64) - np.asarray(due).reshape(made.shape))


def attempt(kind: type[Exception], action: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """(what the action gave, None), or (None, its error of this kind); any other error is the test's failure."""
    try:
        return action(*arguments), None
    except kind as error:
        return None, error


@lru_cache(maxsize=128)
def meta_state(name: str, **hyperparameters: Any) -> dict[str, Tensor]:
    """Names and shapes of a variant's tensors, without numbers."""
    with torch.device("meta"):
        return create_model(name, **hyperparameters).state_dict()


def same_weights(a: Run, b: Run, which: str = "last") -> bool:
    one, two = load_file(a.weights(which)), load_file(b.weights(which))
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def without_times(run: Run) -> list[dict[str, object]]:
    """The lines of its epochs, but for how long they took."""
    times = ("seconds", "images_per_s", "pieces_per_s", "cpu_seconds")
    return [{key: value for key, value in line.items() if key not in times} for line in read_lines(run.metrics)]


def interrupt_after(monkeypatch: pytest.MonkeyPatch, steps: int, number: int = signal.SIGTERM) -> None:
    """Send a real signal to this process when that many steps are done."""
    plain = Display.step
    count = 0

    def step(self: Display, **shown: object) -> None:
        nonlocal count
        count += 1
        if count == steps:
            os.kill(os.getpid(), number)
        plain(self, **shown)  # type: ignore[arg-type]

    monkeypatch.setattr(Display, "step", step)


def pretend(patch: pytest.MonkeyPatch, **abilities: object) -> None:
    """Choices are made as on a processor with these abilities, and no others."""
    here = Abilities(**{"architecture": "x86_64", **abilities})  # type: ignore[arg-type]
    for module in ("engine.device", "engine.choice", "engine.kept", "engine.information", "training.products"):
        patch.setattr(f"allmlp.{module}.abilities", lambda: here)


ZEN4 = {"vendor": "AMD", "avx512": True, "avx512_bf16": True, "mkl": True}
"""Fast in bf16, and in oneDNN's float32."""
