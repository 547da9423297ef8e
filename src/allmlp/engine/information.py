"""What a bug report needs: versions, the machine, what allmlp decided on it and why, and where it keeps things."""

import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from allmlp.engine.abilities import Abilities, abilities
from allmlp.engine.decisions import kept_decisions
from allmlp.engine.device import BF16_WIDTH, BF16_WIDTH_TRAINING
from allmlp.engine.environment import processor
from allmlp.engine.memory import free_bytes
from allmlp.engine.plans.products import broken
from allmlp.errors import RunError
from allmlp.files import cache_folder
from allmlp.released.fetch import home

NEEDED = ("allmlp", "torch", "torchvision", "timm", "numpy", "pillow", "safetensors")
EXTRAS = (
    "pillow-heif",
    "pyarrow",
    "datasets",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "executorch",
    "ai-edge-litert",
    "coremltools",
    "fastapi",
    "uvicorn",
    "sentencepiece",
    "ray",
    "triton",
)
SETTINGS = ("ALLMLP_", "OMP_", "MKL_", "ONEDNN_", "DNNL_", "ATEN_", "KMP_", "MALLOC_", "CUDA_VISIBLE_DEVICES")
"""Beginnings of environment variables that change what allmlp does; keys and passwords are never shown."""
SECRET = ("KEY", "TOKEN", "PASSWORD", "SECRET")


def information() -> dict[str, Any]:
    """Plain values for JSON. Nothing is measured, and nothing is written.

    Returns:
        "versions", "machine", "decisions" (what follows from the machine), "measured" (what was measured once and written
        down), "folders" (where allmlp keeps things, with bytes), "settings" (environment variables that matter).
    """
    here = abilities()
    return {
        "versions": {"python": platform.python_version(), **_versions(NEEDED), **_versions(EXTRAS)},
        "machine": {
            "platform": platform.platform(),
            "processor": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "free_memory_bytes": free_bytes(),
            "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
            "abilities": asdict(here),
            "torch_vectors": torch.backends.cpu.get_cpu_capability(),
            "filesystem_encoding": sys.getfilesystemencoding(),
        },
        "decisions": _decisions(here),
        "measured": kept_decisions(),
        "folders": {name: _folder(path) for name, path in (("home", home), ("cache", cache_folder))},
        "settings": {
            name: value
            for name, value in sorted(os.environ.items())
            if name.startswith(SETTINGS) and not any(word in name for word in SECRET)
        },
    }


def _decisions(here: Abilities) -> dict[str, str]:
    """What "auto" means on this machine's processor, with the reason."""
    trouble = broken(torch.float32)
    bf16 = f"bf16 for models of {BF16_WIDTH_TRAINING} channels or more" if here.fast_bf16 else "fp32"
    why_bf16 = "this processor is far faster in bf16" if here.fast_bf16 else "bf16 is not known to be faster on this processor"
    onednn = here.fast_onednn and not trouble
    engine = "torch" if here.onednn_avx512 and not trouble else "eager"
    return {
        "train.precision": f"{bf16}: {why_bf16}",
        "train.products": "onednn: MKL has no AVX-512 for this processor"
        if onednn
        else f"torch: {trouble or 'oneDNN is not known to be far faster than torch on this processor'}",
        "precision of predictions": f"bf16 for models of {BF16_WIDTH} channels or more" if here.fast_bf16 else "fp32",
        "engine": f"{engine}: "
        + ("oneDNN has AVX-512 here" if engine == "torch" else trouble or "without AVX-512 oneDNN is no faster than torch"),
    }


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    """Of those that are installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _folder(place: Any) -> dict[str, Any]:
    try:
        path: Path = place()
    except RunError as error:
        return {"path": None, "why": error.what}
    try:
        sizes = [file.stat().st_size for file in path.rglob("*") if file.is_file()]
    except OSError:
        sizes = []
    return {"path": str(path), "files": len(sizes), "bytes": sum(sizes)}
