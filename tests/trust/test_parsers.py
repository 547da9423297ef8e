"""What reads files of allmlp's own kinds gives a value or an error of its own types, whatever the bytes."""

import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save
from scorecard import Card, Fault

from allmlp.conversion.recognise import recognise
from allmlp.engine.bundle import read_bundle
from allmlp.engine.load import located
from allmlp.errors import AllmlpError
from allmlp.recipe import load_recipe
from allmlp.recipe.reading import packaged_recipes
from allmlp.run import read_json, read_lines
from allmlp.weights.files import read_tensors
from helpers import attempt

FAULT = Fault(
    90,
    "Our own parsers",
    "recipe, run folder, bundle manifest, npz and layout detection: a value or a typed error, for any bytes",
)
BITS = (
    b"\0",
    b"\xff",
    b"9" * 30,
    b"-1",
    b"1e999",
    b"NaN",
    b"[",
    b"]" * 3,
    b"{",
    b"}",
    b'"',
    b"null",
    b"\n",
    b"\r",
    b"=",
    b".",
    b"'",
    b"\xe2\x82",
)
"""Which grammars give way at."""
pytestmark = pytest.mark.slow


def mutated(content: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """Bytes changed, cut, doubled, put in from BITS and from another seed: one to eight times."""
    for _ in range(chance.choice((1, 1, 2, 8))):
        a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        b = min(b, a + chance.choice((0, 1, 4, 40, 4000)))
        other = chance.choice(others)
        start = chance.randrange(len(other) + 1)
        filling = (
            chance.choice(BITS),
            bytes([chance.randrange(256)]),
            other[start : start + chance.choice((4, 60))],
            content[a:b] * 2,
            b"",
        )
        content = content[:a] + chance.choice(filling) + content[b:]
    return content


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


def read_run(folder: Path, content: bytes) -> Any:
    """run.json, its lines, and the card beside weights."""
    for name in ("run.json", "best.json", "lines.jsonl"):
        (folder / name).write_bytes(content)
    (folder / "best.safetensors").touch()
    attempt(AllmlpError, read_lines, folder / "lines.jsonl")
    attempt(AllmlpError, read_json, folder / "run.json")
    return located(folder)


def read_manifest(folder: Path, content: bytes) -> Any:
    (folder / "bundle.json").write_bytes(content)
    return read_bundle(folder)


def read_recipe(folder: Path, content: bytes) -> Any:
    (folder / "mine.toml").write_bytes(content)
    return load_recipe(folder / "mine.toml")


def read_layout(folder: Path, content: bytes) -> Any:
    path = folder / ("w.npz" if content[:2] == b"PK" else "w.safetensors")
    path.write_bytes(content)
    return recognise(read_tensors(path))


def relabelled(folder: Path, content: bytes) -> Any:
    """Names and shapes of a real checkpoint, some of them other ones."""
    chance = random.Random(content)
    (folder / "w.safetensors").write_bytes(SEED["arrays"][2])
    tensors = read_tensors(folder / "w.safetensors")
    for name in chance.sample(sorted(tensors), chance.choice((1, 2, 5))):
        tensor = tensors.pop(name)
        tensors[chance.choice((name, name[:-1], name.replace("0", "7"), name + ".weight", ""))] = chance.choice(
            (tensor, tensor[None], tensor.flatten(), tensor[:0], tensor[..., :1], tensor.double())
        )
    return recognise(tensors)


SEED: dict[str, list[bytes]] = {}


@pytest.mark.parametrize(
    ("seeds", "read", "full"),
    [
        (recipes, read_recipe, 20_000),
        (jsons, read_run, 10_000),
        (jsons, read_manifest, 10_000),
        (arrays, read_layout, 5000),
        (arrays, relabelled, 2000),
    ],
    ids=["recipe", "run", "manifest", "files", "layout"],
)
def test_parsers(
    seeds: Callable[[Path], list[bytes]],
    read: Callable[[Path, bytes], Any],
    full: int,
    weights: Path,
    tmp_path: Path,
    card: Card,
) -> None:
    chance = random.Random(0)
    SEED[seeds.__name__] = given = seeds(weights)
    count, refused = card.times(full, full // 100), 0
    for _ in range(count):
        content = mutated(chance.choice(given), given, chance)
        _, error = attempt(AllmlpError, read, tmp_path, content)
        assert error is None or error.mend, error
        refused += error is not None
    assert refused
    card.seen(
        f"mutated bytes to {read.__name__.replace('_', ' ')}",
        count,
        f"{count - refused:,} read, {refused:,} refused by a typed error",
    )
