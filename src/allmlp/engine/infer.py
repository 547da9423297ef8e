"""Run a model over batches."""

# axes: b batch, k classes

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from allmlp.data.loader import Batch
from allmlp.engine.compiled import Engine
from allmlp.engine.device import autocast, placed
from allmlp.engine.graph import Graph
from allmlp.models.base import ImageModel


@dataclass(frozen=True)
class Outputs:
    """Logits, or features of a model without classes, of every image that could be read, in the loader's order, on the CPU in
    float32."""

    logits: Tensor  # b k
    labels: Tensor  # b
    indices: Tensor  # b
    unreadable: list[tuple[str, str]]


def stream(
    model: ImageModel | Graph,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    precision: str = "fp32",
    engine: Engine | None = None,
) -> Iterator[tuple[Tensor, Batch]]:  # → b k, batch
    """Logits batch by batch, in evaluation mode and without gradients; the model's mode is put back.

    engine: answers in the model's place, in a precision of its own."""
    was_training = isinstance(model, ImageModel) and model.training
    if isinstance(model, ImageModel):
        model.eval()
    try:
        for batch in batches:
            if not len(batch.labels):
                yield torch.empty(0, _width(model)), batch
                continue
            if isinstance(model, Graph):
                yield model(batch.images), batch
                continue
            if engine is not None:
                yield engine(batch.images).cpu(), batch
                continue
            with torch.inference_mode(), autocast(device, precision):
                logits = model(placed(batch.images, model, device))
            yield logits.float().cpu(), batch
    finally:
        if isinstance(model, ImageModel):
            model.train(was_training)


def gather(
    model: ImageModel | Graph,
    batches: Iterable[Batch],
    *,
    device: torch.device,
    precision: str = "fp32",
    engine: Engine | None = None,
    after: Callable[[Batch], None] | None = None,
) -> Outputs:
    """All logits of a loader. after: called with each batch, for progress, or to stop by raising."""
    logits, labels, indices, unreadable = [], [], [], []
    for output, batch in stream(model, batches, device=device, precision=precision, engine=engine):
        logits.append(output)
        labels.append(batch.labels)
        indices.append(batch.indices)
        unreadable += batch.unreadable
        if after is not None:
            after(batch)
    none = torch.empty(0, dtype=torch.long)
    return Outputs(
        torch.cat([torch.empty(0, _width(model)), *logits]),
        torch.cat([none, *labels]),
        torch.cat([none, *indices]),
        unreadable,
    )


def finite_rows(output: Tensor) -> Tensor:  # b k → b of bool
    """Whether all of an image's logits, or features, are finite."""
    return output.isfinite().all(1)


def why_not_finite(pixels: Tensor, what: str = "logits") -> str:  # c h w, or k of a graph that prepares images itself
    """The reason, for the row of an image whose logits are not finite. pixels: as the model was given them."""
    return f"the model's {what} are not finite for it" if pixels.isfinite().all() else "its pixels are not finite"


def _width(model: ImageModel | Graph) -> int:
    return model.num_classes if isinstance(model, Graph) else model.num_classes or model.num_features
