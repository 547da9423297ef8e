"""How well features tell classes, beside those of the same models before they learned anything, and beside pixels.

    python benchmarks/features.py DATA RUN [RUN ...] --json build/features.json

DATA as for allmlp train; each RUN is one of allmlp pretrain or train, of which several may share an architecture. By 20 nearest
neighbours and by a linear classifier on whole pictures, as allmlp evaluate --knn --linear measures them.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.data.images import Images
from allmlp.data.sources import open_source
from allmlp.engine.load import load
from allmlp.evaluation.linear import linear_probe
from allmlp.evaluation.probing import probe
from allmlp.models.base import ImageModel
from allmlp.neighbours import knn_top1
from allmlp.recipe import Recipe
from allmlp.run import write_json, write_model

NEIGHBOURS = 20


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--seed", type=int, default=0, help="of the random weights and of the linear classifier")
    parser.add_argument("--json", type=Path, default=Path("build/features.json"))
    given = parser.parse_args(words)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, float]] = {}
    models = {run: load(run) for run in given.runs}
    found["pixels"] = of_pixels(given.data, next(iter(models.values())), given.seed)
    for name, model in {model.name: model for model in models.values()}.items():
        found[f"{name}, random weights"] = of_random_weights(given.data, model, given.seed)
    for run in given.runs:
        found[Path(run).name] = measured(probe(run, given.data, knn=True, linear=True, seed=given.seed))
        write_json(given.json, found)
    print(table(found))
    return 0


def of_pixels(data: str, model: ImageModel, seed: int) -> dict[str, float]:
    """As the model gets to see them."""
    source = open_source(data, val_share=Recipe().data.val_share, seed=seed)
    asked = source.val if source.test is None else source.test
    taught, shown = pixels(source.train, model), pixels(asked, model)
    labels, due = torch.as_tensor(source.train.labels), torch.as_tensor(asked.labels)
    near = knn_top1(taught, labels, shown, due, neighbours=(NEIGHBOURS,))[NEIGHBOURS]
    return {"knn": near, "linear": linear_probe(taught, labels, shown, due, classes=len(source.classes), seed=seed).top1}


def pixels(images: Images, model: ImageModel) -> Tensor:  # → n (c h w)
    return torch.stack([model.preprocessing(images.open(i, model.in_chans)).flatten() for i in range(len(images))])


def of_random_weights(data: str, model: ImageModel, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    fresh = model.twin()
    fresh.preprocessing = model.preprocessing
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.safetensors"
        write_model(path, fresh.state_dict(), fresh.card())
        return measured(probe(path, data, knn=True, linear=True, seed=seed))


def measured(result: dict[str, Any]) -> dict[str, float]:
    return {"knn": result["knn"]["top1"][str(NEIGHBOURS)], "linear": result["linear"]["top1"]}


def table(found: dict[str, dict[str, float]]) -> str:
    lines = [f"| features | {NEIGHBOURS} neighbours | linear |", "|---|---:|---:|"]
    lines += [f"| {name} | {row['knn']:.1%} | {row['linear']:.1%} |" for name, row in found.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
