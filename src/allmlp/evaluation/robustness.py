"""How far a run's accuracy holds when its images are corrupted (Hendrycks & Dietterich, ICLR 2019)."""

# axes: b batch, c channels, h w pixels

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from allmlp.data.images import Images
from allmlp.data.keys import generator
from allmlp.data.loader import Batch, plain_batches
from allmlp.data.progress import watched
from allmlp.engine.device import best_device, choose_precision, prepared
from allmlp.engine.infer import finite_rows, stream
from allmlp.engine.load import load
from allmlp.errors import DataError, ModelError
from allmlp.evaluation.answers import images_for
from allmlp.evaluation.corruptions import STRENGTHS, benchmark, corrupted, to_picture
from allmlp.files import whole_file, writing
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import Preprocessing
from allmlp.run import Run, read_json, write_json

IMAGES = 1000
"""That are looked at, unless another number is asked for: enough to know an accuracy to 3 points."""
FIVE = range(1, 6)
SHOWN = 96
"""Longest side of an image in the pictures, in pixels."""
GAP = 4

Kind = tuple[str, int]
"""(name, strength); ("", 0) for images as they are"""
KINDS: tuple[Kind, ...] = (("", 0), *((name, strength) for name in STRENGTHS for strength in FIVE))


def measure_robustness(
    run: Run, *, images: int = IMAGES, batch: int = 64, seed: int = 0, quiet: bool = False
) -> dict[str, Any]:
    """Measure the best weights on the run's own test or validation images, with each corruption at five strengths.

    images: at most so many, at even distances. seed: of the noise, which depends on nothing else but image and strength.
    Writes run.robustness, and pictures of the first image beside it; returns what it wrote, shares in [0, 1].
    Raises DataError when no image can be read.
    """
    if images < 1 or batch < 1:
        raise DataError("a batch and the number of images start at 1", hint="give 1 or more")
    run.check_writable()
    model = load(run)
    found, split, title, _ = images_for(run, model.classes or (), None, quiet)
    chosen = found.spread(images)
    hits, seen = _hits(model, chosen, batch=batch, seed=seed, quiet=quiet)
    if not seen:
        raise DataError(f"none of the {len(chosen)} images of {title} could be read", hint="check the files")
    accuracy = {name: [hits[name, strength] / seen for strength in FIVE] for name in STRENGTHS}
    record = {
        "data": title,
        "split": split,
        "images": seen,
        "epoch": read_json(run.weights().with_suffix(".json")).get("epoch"),
        "clean": hits["", 0] / seen,
        "mean": sum(map(sum, accuracy.values())) / (len(STRENGTHS) * len(FIVE)),
        "benchmark": benchmark(model.img_size),
        "corruptions": [{"name": name, "accuracy": row, "picture": f"{name}.png"} for name, row in accuracy.items()],
        "seed": seed,
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _draw(run, model, chosen, seed)
    write_json(run.robustness, record)
    return record


def _hits(model: ImageModel, images: Images, *, batch: int, seed: int, quiet: bool) -> tuple[dict[Kind, int], int]:
    """(right answers of each kind, images); each image is decoded once."""
    device = best_device()
    prepared(model, device)
    batches = plain_batches(images, model.preprocessing, reading=model.reading, batch=batch, workers=0)
    shown = watched(batches, total=len(batches), what="corrupting", quiet=quiet)
    precision = choose_precision("auto", device, model)
    hits, seen = dict.fromkeys(KINDS, 0), 0
    answers = stream(model, _all_kinds(shown, model.preprocessing, seed), device=device, precision=precision)
    for number, (logits, part) in enumerate(answers):
        if not finite_rows(logits).all():
            raise ModelError(
                f"logits are not finite for images of {KINDS[number % len(KINDS)][0] or 'the data as they are'}",
                hint="its weights are too large to compute with: take an earlier checkpoint of that training",
            )
        hits[KINDS[number % len(KINDS)]] += int((logits.argmax(1) == part.labels).sum()) if len(part.labels) else 0
        seen += len(part.labels) if number % len(KINDS) == 0 else 0
    return hits, seen


def _all_kinds(batches: Iterator[Batch], spec: Preprocessing, seed: int) -> Iterator[Batch]:
    """Of each batch first itself, then each corruption at each strength."""
    for one in batches:
        yield one
        pixels = in_bytes(one.images, spec) if len(one.labels) else one.images
        for name, strength in KINDS[1:]:
            images = [_corrupted(p, name, strength, seed, int(i)) for p, i in zip(pixels, one.indices, strict=True)]
            yield Batch(normalised(torch.stack(images), spec) if images else one.images, one.labels, one.indices, [])


def _corrupted(image: Tensor, name: str, strength: int, seed: int, index: int) -> Tensor:
    return corrupted(image, name, strength, generator(seed, "corruption", list(STRENGTHS).index(name), strength, index))


def in_bytes(images: Tensor, spec: Preprocessing) -> Tensor:  # b c h w, normalised → uint8
    """The pixels that a model was given."""
    return (images * _column(spec.std) + _column(spec.mean)).clamp(0, 1).mul(255).round().to(torch.uint8)


def normalised(images: Tensor, spec: Preprocessing) -> Tensor:  # b c h w, uint8 → normalised
    """The inverse of `in_bytes`."""
    return (images.float() / 255 - _column(spec.mean)) / _column(spec.std)


def _column(values: tuple[float, ...]) -> Tensor:  # → c 1 1
    return torch.tensor(values)[:, None, None]


def _draw(run: Run, model: ImageModel, images: Images, seed: int) -> None:
    """For each corruption one picture: the first readable image at the five strengths, side by side."""
    folder = run.robustness.with_suffix("")
    batches = plain_batches(images, model.preprocessing, reading=model.reading, batch=1, workers=0)
    first = next(one for one in batches if len(one.labels))
    pixels, index = in_bytes(first.images, model.preprocessing)[0], int(first.indices[0])
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in STRENGTHS:
            strip = side_by_side([to_picture(_corrupted(pixels, name, s, seed, index).double() / 255) for s in FIVE])
            with whole_file(folder / f"{name}.png") as temporary:
                strip.save(temporary, "PNG")


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    """Pictures of one size from left to right, a little apart; at most SHOWN pixels a side."""
    for picture in pictures:
        picture.thumbnail((SHOWN, SHOWN))
    width, height = pictures[0].size
    strip = Image.new("RGBA", (len(pictures) * (width + GAP) - GAP, height), (0, 0, 0, 0))
    for number, picture in enumerate(pictures):
        strip.paste(picture.convert("RGBA"), (number * (width + GAP), 0))
    return strip
