"""On what something was run: versions, processor, threads, device."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from allmlp.engine.abilities import abilities


def environment(device: torch.device, precision: str) -> dict[str, Any]:
    """What a reader of numbers must know to repeat them."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("allmlp", "torch", "torchvision", "timm", "pillow", "numpy")},
        "platform": platform.platform(),
        "processor": processor(),
        "abilities": str(abilities()),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": precision,
    }


def processor() -> str:
    """Its name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
