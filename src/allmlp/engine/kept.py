"""Engines on the disk: which backend was chosen, how it compared, and the files it starts from.

A folder for each content hash in `engines/` beside the released checkpoints: engine.json with the SHA-256 of every other
file. What does not fit its hash, or cannot be read, counts as not there.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from allmlp.engine.abilities import abilities
from allmlp.engine.environment import processor
from allmlp.errors import RunError
from allmlp.models.base import ImageModel
from allmlp.released.fetch import home
from allmlp.run import read_json, write_json

FORMAT = 2
MOST = 32
"""Engines on the disk; the oldest go first."""
CARD = "engine.json"
VERSIONS = ("allmlp", "torch", "onnxruntime", "openvino", "nncf")
"""Packages with another version of which an engine may be another one."""


def content_hash(model: ImageModel, request: dict[str, Any], device: torch.device) -> str:
    """Of the weights, what they belong to, what was asked for, the versions, the processor and, where there is one, the GPU."""
    about = [FORMAT, request, machine(device), model_hash(model)]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]


def machine(device: torch.device) -> dict[str, Any]:
    """Plain values: the processor, what oneDNN may use of it, the versions that matter and, where there is one, the GPU."""
    found: dict[str, Any] = {
        "processor": processor(),
        "abilities": asdict(abilities()),
        "torch's vectors": torch.backends.cpu.get_cpu_capability(),
        "versions": {name: _version(name) for name in VERSIONS},
    }
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda), "triton": str(_version("triton"))}
    return found


def model_hash(model: ImageModel) -> str:
    """SHA-256 of the weights and what they belong to, the same on every machine."""
    digest = hashlib.sha256(repr([model.family, model.hyperparameters]).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(np.ascontiguousarray(tensor.detach().cpu().float().numpy()).tobytes())
    return digest.hexdigest()


def folder_of(key: str) -> Path:
    """Where an engine is kept; among temporary files, and so for this time alone, where the user has no home."""
    try:
        return home() / "engines" / key
    except RunError:
        return Path(tempfile.mkdtemp(prefix="allmlp-engine-")) / key


def read_kept(folder: Path) -> dict[str, Any] | None:
    """The card of a whole engine; None where there is none. What is damaged is removed, to be built anew."""
    try:
        if not folder.is_dir():  # which raises where the way there is barred
            return None
        card = read_json(folder / CARD)
        if card["format"] == FORMAT and card["files"] == hashes(folder):
            return dict(card)
    except (RunError, OSError, KeyError, TypeError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return None


def keep(folder: Path, made: Path, card: dict[str, Any]) -> bool:
    """Put the files in `made` and their card into `folder`, whole or not at all. False where the disk will not have them."""
    try:
        write_json(made / CARD, {"format": FORMAT, **card, "files": hashes(made)})
        made.rename(folder)
        others = sorted((f for f in folder.parent.iterdir() if f not in (folder, made.parent)), key=lambda f: f.stat().st_mtime)
    except (RunError, OSError):  # no room, not ours to write, or another process was first
        return False
    for old in others[: max(len(others) + 1 - MOST, 0)]:
        shutil.rmtree(old, ignore_errors=True)
    return True


def workshop(folder: Path) -> Path:
    """A new folder in which to build what will be kept in `folder`; where that is impossible, one among temporary files."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError:
        return Path(tempfile.mkdtemp(prefix="allmlp-engine-"))


def hashes(folder: Path) -> dict[str, str]:
    """File's path in the folder → SHA-256, of all but the card."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.name != CARD and path.is_file():
            with path.open("rb") as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
