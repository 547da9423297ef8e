"""A realistic run folder, made of numbers that a small training run could have given."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp import metrics
from allmlp.run import Run

TITLES = {"val": "validation", "test": "test"}
FASHION = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
MakeRun = Callable[..., Run]

RECIPE = """model = "resmlp_xs"
seed = 0

[optim]
name = "adamw"
lr = 0.001
weight_decay = 0.05

[train]
epochs = 20
batch = 128
ema = 0.998
"""


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """make_run(classes=..., state="finished", epochs=20, done=20, splits=("val",), side=28, ema=True) → Run."""

    def make(**options: Any) -> Run:
        return build_run(tmp_path / "run", **options)

    return make


def build_run(
    folder: Path,
    *,
    classes: tuple[str, ...] = FASHION,
    state: str = "finished",
    epochs: int = 20,
    done: int = 20,
    splits: tuple[str, ...] = ("val",),
    side: int = 28,
    ema: bool = True,
    images: int = 1000,
) -> Run:
    """A run folder as training and evaluation leave it, without the weights."""
    run = Run(folder)
    run.evaluation.mkdir(parents=True)
    top1 = evaluations(run, classes, splits, side, images)
    best = {"epoch": max(done - 3, 1), "top1": top1, "weights": "ema" if ema else "raw"}
    write(run.state, run_record(state, epochs, done, best))
    write(run.environment, ENVIRONMENT)
    write(run.data, data_record(classes, images))
    run.recipe.write_text(RECIPE, encoding="utf-8")
    for line in epoch_records(epochs, done, ema, top1):
        run.append(run.metrics, line)
    for epoch in range(1, done + 1):
        run.append(run.unreadable, {"path": "pictures/coat/torn.jpg", "reason": "image file is truncated", "epoch": epoch})
    if done:
        write(run.weights("best").with_suffix(".json"), model_record(classes, side, best))
    return run


def write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


ENVIRONMENT = {
    "python": "3.13.5",
    "allmlp": "0.1.0",
    "torch": "2.11.0",
    "timm": "1.0.22",
    "platform": "Linux-6.12-x86_64-with-glibc2.41",
    "processor": "AMD EPYC 9R14",
    "threads": 2,
    "device": "cpu",
    "precision": "fp32",
}


def run_record(state: str, epochs: int, done: int, best: dict[str, Any]) -> dict[str, Any]:
    return {
        "data": "fashion-mnist (embedded subset)",
        "data_spec": None,
        "command": "allmlp train --recipe small --out run",
        "seed": 0,
        "started": "2026-11-21T02:00:00+00:00",
        "allmlp": "0.1.0",
        "state": state,
        "epochs_done": done,
        "epochs": epochs,
        "best": best if done else None,
        "seconds": 5.06 * done,
    }


def data_record(classes: tuple[str, ...], images: int) -> dict[str, Any]:
    share = images // len(classes)
    return {
        "source": "fashion-mnist (embedded subset)",
        "classes": list(classes),
        "in_chans": 1,
        "split": "0.1 of each class of the training images, seed 0",
        "train": {"images": 9 * share * len(classes), "per_class": [9 * share - 5 * (i % 7) for i in range(len(classes))]},
        "val": {"images": share * len(classes), "per_class": [share] * len(classes)},
        "left_out": [{"path": f"pictures/bag/{i:04}.png", "reason": "cannot identify image file"} for i in range(3)],
        "left_out_count": 3,
        "ignored_files": 2,
    }


def model_record(classes: tuple[str, ...], side: int, best: dict[str, Any]) -> dict[str, Any]:
    return {
        "format": 1,
        "name": "resmlp_xs",
        "family": "resmlp",
        "hyperparameters": {
            "patch_size": 4,
            "dim": 128,
            "depth": 8,
            "img_size": [side, side],
            "drop_path": 0.0,
            "head": "mean",
        },
        "classes": list(classes),
        "preprocessing": {
            "img_size": [side, side],
            "in_chans": 1,
            "mean": [0.449],
            "std": [0.226],
            "crop_ratio": 1.0,
            "crop_mode": "center",
            "interpolation": "bicubic",
        },
        "parameters": 1228648,
        "macs": 55_000_000,
        "epoch": best["epoch"],
        "top1": best["top1"],
    }


def epoch_records(epochs: int, done: int, ema: bool, top1: float) -> list[dict[str, Any]]:
    noise = np.random.default_rng(0).normal(size=(epochs, 4))
    rows = []
    for i in range(done):
        learnt, jitter = 1 - np.exp(-(i + 1) / 4), noise[i]
        row: dict[str, Any] = {
            "epoch": i + 1,
            "step": 70 * (i + 1),
            "lr": 1e-3 * min((i + 1) / 3, 0.5 + 0.5 * float(np.cos(np.pi * i / epochs))),
            "train_loss": 2.3 - 1.6 * learnt + 0.02 * jitter[0],
            "train_top1": None if i == 0 else top1 * learnt + 0.03 * i / epochs,
            "val_loss": 2.3 - 1.9 * learnt + 0.03 * jitter[1] + 0.004 * i,
            "val_top1": top1 * learnt - 0.01 + 0.008 * jitter[2],
            "val_top5": 0.99,
            "images_per_s": 1800.0 + 20 * jitter[3],
            "seconds": 5.06 * (i + 1),
            "unreadable": 1,
        }
        if ema:
            row |= {"ema_loss": 2.3 - 1.92 * learnt, "ema_top1": top1 * (1 - np.exp(-(i + 1) / 5))}
        rows.append(row)
    return rows


def evaluations(run: Run, classes: tuple[str, ...], splits: tuple[str, ...], side: int, images: int) -> float:
    """Write an evaluation per split and return the last one's top-1 (0.88 without any)."""
    top1 = 0.88
    for number, split in enumerate(splits):
        logits, labels = outputs(len(classes), images, seed=number)
        record: dict[str, Any] = {
            "data": f"fashion-mnist (embedded subset), {TITLES.get(split, split)} images",
            "split": split,
            "weights": "best",
        }
        record |= metrics.summary(logits, labels, classes)
        record["mistakes"] = mistakes(run, split, classes, logits, labels, side)
        record |= {
            "unreadable": 0,
            "unreadable_files": [],
            "seconds": 0.8,
            "evaluated": f"2026-11-21T02:0{number + 2}:00+00:00",
        }
        write(run.evaluation / f"{split}.json", record)
        top1 = float(record["top1"])
    return top1


def outputs(classes: int, images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of a fair classifier that confuses each class with its next but one."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % classes
    logits = torch.randn(images, classes, generator=generator) * 1.2
    hardness = torch.rand(images, generator=generator) * (1 + labels % 4) / 4
    logits[torch.arange(images), labels] += 6 * (1 - hardness)
    logits[torch.arange(images), (labels + 2) % classes] += 4.5 * hardness
    return logits, labels


def mistakes(
    run: Run, split: str, classes: tuple[str, ...], logits: torch.Tensor, labels: torch.Tensor, side: int
) -> list[dict[str, Any]]:
    folder = run.evaluation / f"mistakes-{split}"
    folder.mkdir()
    confidence, predicted = logits.softmax(1).max(1)
    wrong = [i for i in confidence.argsort(descending=True).tolist() if predicted[i] != labels[i]][:24]
    for place, i in enumerate(wrong):
        picture(i, side).save(folder / f"{place:02}.png")
    return [
        {
            "picture": f"mistakes-{split}/{place:02}.png",
            "path": f"/data/pictures/{classes[int(labels[i])].replace('/', '-')}/IMG_2026_{i:05}.jpg",
            "label": classes[int(labels[i])],
            "predicted": classes[int(predicted[i])],
            "confidence": float(confidence[i]),
        }
        for place, i in enumerate(wrong)
    ]


def picture(number: int, side: int) -> Image.Image:
    """A grey blob whose shape follows from the number."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle = np.arctan2(y, x)
    radius = np.hypot(x, y) / (0.6 + 0.25 * np.cos((2 + number % 5) * angle + number))
    return Image.fromarray((255 / (1 + np.exp(12 * (radius - 1)))).astype(np.uint8))
