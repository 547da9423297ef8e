"""A folder that `allmlp.export` wrote, read back: what it says of itself, once its files are those it was written with."""

import hashlib
from pathlib import Path
from typing import Any

from allmlp.errors import RunError
from allmlp.run import BUNDLE, read_json

SCHEMA = 1
"""Version of bundle.json; a reader refuses a newer one."""
WEIGHTS = {"safetensors": ("model.safetensors",), "timm": ("model.safetensors",)}
"""Format → its files, of those that a model is built from."""
GRAPHS = {
    "onnx": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
    "executorch": ("model.pte",),
    "litert": ("model.tflite",),
}
"""Format → its files, of those that answer by themselves."""
CARD = {"name": str, "family": str, "hyperparameters": dict, "classes": list, "preprocessing": dict, "files": dict}
"""What a bundle must say, and in which type."""


def is_bundle(folder: Path) -> bool:
    return (folder / BUNDLE).is_file()


def read_bundle(folder: Path) -> dict[str, Any]:
    """What bundle.json says, once every file but the README, in which people may write, has the hash it names.

    Raises RunError for what no allmlp wrote, a newer schema, a format that is not read back, and files that are missing
    or changed.
    """
    card = read_json(folder / BUNDLE)
    if not isinstance(card, dict) or not isinstance(card.get("bundle"), int) or not isinstance(card.get("format"), str):
        raise _damaged(folder, f"{BUNDLE} does not describe a bundle")
    if card["bundle"] > SCHEMA:
        raise RunError(
            f"{folder} is a bundle of schema {card['bundle']}, this allmlp reads up to {SCHEMA}", hint="upgrade allmlp"
        )
    kind = card["format"]
    if kind not in WEIGHTS and kind not in GRAPHS:
        why = {"torch": ": reading a .pt2 runs code from the file", "coreml": ": it runs on macOS alone"}.get(kind, "")
        raise RunError(
            f"{folder} is a bundle of format {kind}, which allmlp does not read back{why}",
            hint=f"give the run it was made from, or export --format {', '.join(WEIGHTS)}, {', '.join(GRAPHS)}",
        )
    lacking = [key for key, wanted in CARD.items() if not isinstance(card.get(key), wanted)]
    if lacking:
        raise _damaged(folder, f"{BUNDLE} does not say {' and '.join(lacking)}")
    unnamed = [name for name in WEIGHTS.get(kind, GRAPHS.get(kind, ())) if name not in card["files"]]
    if unnamed:
        raise _damaged(folder, f"{BUNDLE} has no hash of {unnamed[0]}")
    for name, digest in card["files"].items():
        if name != "README.md":
            _verify(folder, name, digest)
    return card


def _verify(folder: Path, name: str, digest: Any) -> None:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise _damaged(folder, f"{name} is missing")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise _damaged(folder, f"{name} is not as it was exported")


def _damaged(folder: Path, what: str) -> RunError:
    return RunError(f"{folder} cannot be used: {what}", hint="copy the whole bundle again, or export it anew")
