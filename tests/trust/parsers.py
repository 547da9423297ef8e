"""What reads files of allmlp's own kinds: functions of a folder to write in and of bytes; with whole files to begin from."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from allmlp.conversion.recognise import recognise
from allmlp.engine.bundle import read_bundle
from allmlp.engine.load import located
from allmlp.errors import AllmlpError
from allmlp.recipe import load_recipe
from allmlp.recipe.reading import packaged_recipes
from allmlp.run import read_json, read_lines
from allmlp.translation.model import END
from allmlp.translation.vocabulary import Vocabulary
from allmlp.weights.files import read_tensors
from helpers import attempt

MOST_NUMBERS = 1 << 16
"""Of a tensor that `read_layout` makes."""


def recipes(_weights: Path) -> list[bytes]:
    return [path.read_bytes() for path in packaged_recipes().values()]


def jsons(weights: Path) -> list[bytes]:
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    bundle = {**card, "bundle": 1, "format": "safetensors", "files": {"model.safetensors": "0" * 64}}
    return [
        json.dumps(value).encode()
        for value in (card, bundle, {"state": "finished", "seed": 0, "best": {"epoch": 1, "top1": 0.5}})
    ]


def arrays(weights: Path) -> list[bytes]:
    file, packed = io.BytesIO(), io.BytesIO()
    state = {name: tensor.numpy() for name, tensor in load_file(weights).items()}
    np.savez(file, **state)
    np.savez_compressed(packed, **state)
    return [file.getvalue(), packed.getvalue(), save(load_file(weights))]


def layouts(weights: Path) -> list[bytes]:
    """A line for each tensor of a checkpoint: its name and its shape."""
    lines = [" ".join([name, *map(str, tensor.shape)]) for name, tensor in load_file(weights).items()]
    return ["\n".join(lines).encode()]


def read_recipe(folder: Path, content: bytes) -> Any:
    (folder / "mine.toml").write_bytes(content)
    return load_recipe(folder / "mine.toml")


def read_run(folder: Path, content: bytes) -> Any:
    """run.json, its lines, and the card beside weights."""
    for name in ("run.json", "best.json", "lines.jsonl"):
        (folder / name).write_bytes(content)
    (folder / "best.safetensors").touch()
    for read, name in ((read_lines, "lines.jsonl"), (read_json, "run.json")):
        attempt(AllmlpError, read, folder / name)
    return located(folder)


def read_manifest(folder: Path, content: bytes) -> Any:
    (folder / "bundle.json").write_bytes(content)
    return read_bundle(folder)


def read_arrays(folder: Path, content: bytes) -> Any:
    """.npz or safetensors, and whose layout its names are."""
    path = folder / ("w.npz" if content[:2] == b"PK" else "w.safetensors")
    path.write_bytes(content)
    return recognise(read_tensors(path))


def read_layout(_folder: Path, content: bytes) -> Any:
    """Whose layout these names and shapes are."""
    tensors = {}
    for line in content.decode(errors="replace").splitlines():
        name, *shape = line.split(" ")
        sizes = [int(size) for size in shape if size.isascii() and size.isdigit() and len(size) < 6]
        if len(sizes) < 8 and np.prod(sizes, dtype=object) <= MOST_NUMBERS:
            tensors[name] = torch.zeros(sizes)
    return recognise(tensors)


def vocabularies(_weights: Path) -> list[bytes]:
    """A sentencepiece model of a few words in two languages."""
    words = ("haus", "hund", "läuft", "straße", "the", "dog", "runs", "house")
    lines = [" ".join(words[(i * k) % len(words)] for k in range(1, 8)) for i in range(60)]
    return [Vocabulary.learnt(lines, 60).model]


def read_vocabulary(folder: Path, content: bytes) -> Any:
    """And its use: there and back, and every piece it says it has, but the one that ends a sentence."""
    (folder / "vocabulary.model").write_bytes(content)
    vocabulary = Vocabulary.read(folder / "vocabulary.model")
    pieces = vocabulary.encode("the dog läuft 12 ☃")
    return vocabulary.decode([piece for piece in (*pieces, *range(len(vocabulary))) if piece != END])


PARSERS: dict[str, tuple[Callable[[Path], list[bytes]], Callable[[Path, bytes], Any]]] = {
    "recipe": (recipes, read_recipe),
    "run": (jsons, read_run),
    "manifest": (jsons, read_manifest),
    "arrays": (arrays, read_arrays),
    "layout": (layouts, read_layout),
    "vocabulary": (vocabularies, read_vocabulary),
}
"""By name: whole files, and what reads them."""
