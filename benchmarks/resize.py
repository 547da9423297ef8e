"""How much accuracy a model keeps at another size, by each rule, without further training.

    python benchmarks/resize.py RUN... --data FOLDER [--sizes 40 48 24x48] [--limit 2500] [--out resize.json]

Rules: "back" resizes the picture to the size that the model was trained for; "default" is `allmlp.resize` as it is; the
others resize the model too, but leave its patches as they were. Beside allmlp's kernels stand naive ones: the nearest
token, weights interpolated without keeping their sums, and the matrix interpolated as if it were a picture.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import allmlp
from allmlp import metrics
from allmlp.data.images import Images
from allmlp.data.loader import Batch, plain_batches
from allmlp.data.sources import open_labelled
from allmlp.engine.device import best_device, prepared
from allmlp.engine.infer import gather
from allmlp.models.base import ImageModel
from allmlp.strict_json import to_json
from allmlp.surgery import resample, resize


def nearest(now: int, wanted: int) -> Tensor:
    """The cell under the centre of each wanted cell."""
    chosen = ((torch.arange(wanted) + 0.5) * now / wanted).long().clamp(max=now - 1)
    return torch.eye(now, dtype=torch.float64)[chosen]


def as_picture(model: ImageModel, size: tuple[int, int]) -> ImageModel:
    """Every matrix and bias that depends on the grid, interpolated as a picture of itself."""
    resized = resize.resize(model, size, patches="same")
    old = model.state_dict()
    state = {}
    for name, tensor in resized.state_dict().items():
        before = old[name]
        if tensor.shape != before.shape and tensor.ndim <= 2:
            picture = before.reshape(1, 1, -1, before.shape[-1])
            wide = (tensor.shape[0] if tensor.ndim == 2 else 1, tensor.shape[-1])
            state[name] = nn.functional.interpolate(picture, size=wide, mode="bilinear", antialias=True).reshape(tensor.shape)
        else:
            state[name] = tensor
    resized.load_state_dict(state)
    return resized


def with_kernel(kernel: str) -> Callable[[ImageModel, tuple[int, int]], ImageModel]:
    return lambda model, size: resize.resize(model, size, kernel=kernel, patches="same")


def without_sums(model: ImageModel, size: tuple[int, int]) -> ImageModel:
    """Bilinear weights whose sums grow with the number of tokens."""
    original = resample.Resample.inputs
    resample.Resample.inputs = lambda maps, weight: original(maps, weight) * (maps.down.shape[1] / maps.down.shape[0])  # type: ignore[method-assign]
    try:
        return resize.resize(model, size, kernel="bilinear", patches="same")
    finally:
        resample.Resample.inputs = original  # type: ignore[method-assign]


RULES: dict[str, Callable[[ImageModel, tuple[int, int]], ImageModel]] = {
    "default": resize.resize,
    "copy": with_kernel("copy"),
    "area": with_kernel("area"),
    "bilinear": with_kernel("bilinear"),
    "bicubic": with_kernel("bicubic"),
    "naive: nearest": with_kernel("nearest"),
    "naive: sums not kept": without_sums,
    "naive: as a picture": as_picture,
}


def accuracy(model: ImageModel, images: Images, *, seen: tuple[int, int] | None = None) -> float:
    """Top-1; seen: the size to which pictures are resized before they are resized to the model's."""
    device = best_device()
    prepared(model, device)
    spec = replace(model.preprocessing, img_size=seen or model.img_size)
    batches = plain_batches(images, spec, reading=model.in_chans, batch=250, workers=0)
    out = gather(model, _back(batches, model.img_size) if seen else batches, device=device)
    return metrics.top_k(out.logits, out.labels, 1)


def _back(batches: Iterable[Batch], size: tuple[int, int]) -> Iterator[Batch]:
    for batch in batches:
        small = nn.functional.interpolate(batch.images, size=size, mode="bicubic", antialias=True)
        yield replace(batch, images=small)


def measure(run: Path, data: Path, sizes: list[tuple[int, int]], limit: int) -> dict[str, object]:
    model = allmlp.load(run)
    assert model.classes is not None
    images, _ = open_labelled(data, model.classes)
    images = images.subset(np.random.default_rng(0).permutation(len(images))[:limit])
    model.preprocessing = replace(model.preprocessing, crop_mode="squash", crop_ratio=1.0)
    found: dict[str, object] = {
        "model": model.name,
        "trained": list(model.img_size),
        "images": len(images),
        "top1": accuracy(model, images),
    }
    for size in sizes:
        row = {"back": accuracy(model, images, seen=size)}
        for name, rule in RULES.items():
            try:
                resized = rule(model, size)
            except allmlp.AllmlpError as error:
                print(f"{model.name} at {size}: {error.what}")
                break
            resized.preprocessing = replace(resized.preprocessing, crop_mode="squash", crop_ratio=1.0)
            row[name] = accuracy(resized, images)
        found["x".join(map(str, size))] = row
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("runs", nargs="+", type=Path)
    words.add_argument("--data", required=True, type=Path, help="folder of class folders")
    words.add_argument("--sizes", nargs="+", default=["40", "48", "24x48"])
    words.add_argument("--limit", type=int, default=2500, help="at most so many images, drawn at random")
    words.add_argument("--out", type=Path, default=Path("resize.json"))
    given = words.parse_args()
    sizes = [tuple(int(v) for v in (s.split("x") * 2)[:2]) for s in given.sizes]
    resample.KERNELS["nearest"] = nearest
    results = [measure(run, given.data, sizes, given.limit) for run in given.runs]  # type: ignore[arg-type]
    given.out.write_text(to_json(results, indent=2) + "\n", encoding="utf-8")
    for result in results:
        table = Table("rule", *("×".join(map(str, size)) for size in sizes), box=None)
        for rule in ("back", *RULES):
            cells = (result.get("x".join(map(str, size)), {}) for size in sizes)
            table.add_row(rule, *(f"{cell[rule]:.2%}" if rule in cell else "-" for cell in cells))  # type: ignore[operator, index]
        Console().print(f"\n{result['model']}: {result['top1']:.2%} at {result['trained']}", table)


if __name__ == "__main__":
    main()
