"""An exported file beside its model, on real images."""

# axes: b images, k classes

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from allmlp.data.images import Images
from allmlp.data.progress import watched
from allmlp.engine.backends.base import in_batches
from allmlp.engine.parity import ALLOWED, Parity, parity
from allmlp.errors import EngineError
from allmlp.exporting.formats.base import Order, Runner
from allmlp.exporting.pictures import as_input, readable
from allmlp.pixels.graph import PicturesIn

BATCH = 32
A_PIXEL = 1e-3
"""What one pixel of a small picture changes when sums of other order round it the other way, inside the graph."""


@dataclass(frozen=True)
class Compared:
    """The file against the model in float32, as it is in torch."""

    images: int
    file: Parity
    """Of the same tensors: what conversion and precision change."""
    whole: Parity
    """Of the same pictures, with allmlp's own preprocessing: another figure only where preprocessing is in the graph."""

    def to_dict(self, of: str) -> dict[str, Any]:
        """of: what the images were, in words."""
        shown = {"images": self.images, "of": of, "deviation": self.file.deviation, "agreement": self.whole.agreement}
        return {**shown, "deviation_with_preprocessing": self.whole.deviation}


def compare(order: Order, run: Runner, images: Images, *, quiet: bool = False) -> Compared:
    """Run the file on the images, the first one alone, the others BATCH at a time. Raises EngineError where that fails."""
    run = run if order.batch is None else in_batches(run, order.batch)
    got, same, due = [], [], []
    pictures = watched(readable(images, order.model), total=len(images), what="comparing", quiet=quiet)
    inside = PicturesIn(order.model.preprocessing) if order.with_preprocessing else None
    held: list[Tensor] = []
    with torch.inference_mode():
        for picture in pictures:
            image = as_input(picture, order)
            due.append(order.model(order.model.preprocessing(picture)[None]))
            if inside is not None:
                got.append(_ran(run, image))
                same.append(order.model(inside(image)))
                continue
            held.append(image)
            if len(due) == 1 or len(held) == BATCH:
                got.append(_ran(run, torch.cat(held)))
                held = []
        if held:
            got.append(_ran(run, torch.cat(held)))
    answers, expected = torch.cat(got), torch.cat(due)
    if not expected.isfinite().all():
        raise EngineError(
            f"the logits of {order.model.name} itself are not finite on the images it is compared on; nothing was written",
            hint="look at the images (--data), or export an earlier checkpoint of that training",
        )
    return Compared(len(expected), parity(torch.cat(same) if same else expected, answers), parity(expected, answers))


def refuse(order: Order, found: Compared, least: float) -> None:
    """Raises EngineError for a file that does not answer as its model does.

    In fp32 its logits must be near; in less, as large a share of its decisions as `least` must be the model's.
    """
    if not math.isfinite(found.whole.deviation):
        raise EngineError(
            f"the logits of the exported file are not finite in {order.precision}; nothing was written",
            hint="use another --precision (bf16 has the range of fp32), or another --format",
        )
    limit = A_PIXEL if order.with_preprocessing else ALLOWED["fp32"]
    if order.precision == "fp32" and not found.file.deviation <= limit:
        raise EngineError(
            f"the exported file is off by {found.file.deviation:.1e}, and rounding explains {limit:.0e}; nothing was written",
            hint="use another --format, and report this model",
        )
    if not found.whole.agreement >= least:
        raise EngineError(
            f"the exported file decides as the model does for {found.whole.agreement:.1%} of {found.images} images, "
            f"fewer than {least:.0%}; nothing was written",
            hint="use another --precision, other --data, or put up with it: --min-agreement 0",
        )


def _ran(run: Runner, images: Tensor) -> Tensor:  # → b k
    try:
        return run(images).float()
    except Exception as error:  # libraries raise whatever they stumble over
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise EngineError(f"the exported file fails as it runs: {why}", hint="use another --format or --precision") from error
