"""Token-mixing weights as they grew, from what training kept of them."""

# axes: h w of one moment's picture

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from allmlp.reporting.drawing import Drawing, Palette
from allmlp.reporting.ink import PIXELS, inline_svg
from allmlp.reporting.tints import Values, signed
from allmlp.run import Run
from allmlp.weights.files import read_tensors

MOMENTS = 7
"""That are shown of each layer."""
SIDE, HEAD, GAP = 92, 20, 10
"""Of one picture, of the words above it, and between pictures, in pixels."""
LARGEST = 256
"""Side of a picture; larger ones were not kept by training."""
ACROSS = {"grid": "what its middle place takes of all", "rows": "along the height", "columns": "along the width"}


@dataclass(frozen=True)
class Grown:
    """One layer over time. values: of each epoch h w."""

    name: str
    note: str
    epochs: list[int]
    values: list[Values]


def grown(run: Run, last: int) -> list[Grown]:
    """Each layer's moments up to epoch `last`, at most `MOMENTS` at even distances. Raises WeightsError for a damaged file."""
    files = {int(path.stem): path for path in sorted(run.mixing.glob("*.safetensors")) if path.stem.isdecimal()}
    epochs = [epoch for epoch in files if epoch <= last]
    if len(epochs) > MOMENTS:
        epochs = [epochs[i] for i in np.linspace(0, len(epochs) - 1, MOMENTS).round().astype(int)]
    found: dict[str, dict[int, Values]] = {}
    for epoch in epochs:
        for name, tensor in read_tensors(files[epoch]).items():
            values = tensor.double().numpy()
            if values.ndim == 2 and 0 < max(values.shape) <= LARGEST and np.isfinite(values).all():
                found.setdefault(name, {})[epoch] = values
    return [
        Grown(name.rpartition(":")[0], ACROSS.get(name.rpartition(":")[2], ""), list(moments), list(moments.values()))
        for name, moments in found.items()
    ]


def growth_figures(run: Run, last: int) -> list[tuple[str, str, Markup]]:
    """(layer, note, figure); none where nothing was kept."""
    return [
        (
            one.name,
            one.note,
            inline_svg(growth(one.epochs, one.values), f"growth{i}", f"Token mixing of {one.name} at epochs {one.epochs}."),
        )
        for i, one in enumerate(grown(run, last))
    ]


@Drawing
def growth(palette: Palette, epochs: Sequence[int], values: Sequence[Values]) -> Figure:
    """One picture an epoch, from left to right, all on one scale: blue adds, orange subtracts."""
    limit = float(np.quantile(np.abs(np.concatenate([one.ravel() for one in values])), 0.995)) or 1.0
    ratio = max(one.shape[0] / one.shape[1] for one in values)
    tall = SIDE * min(ratio, 1.5)
    width, height = MOMENTS * (SIDE + GAP) - GAP, HEAD + tall
    figure = Figure(figsize=(width / PIXELS, height / PIXELS), dpi=PIXELS)
    for number, (epoch, one) in enumerate(zip(epochs, values, strict=True)):
        left = number * (SIDE + GAP)
        axes = figure.add_axes((left / width, 0, SIDE / width, tall / height))
        axes.imshow(signed(one, limit), interpolation="none")
        axes.set(xticks=[], yticks=[])
        axes.set_anchor("N")
        axes.spines[:].set_visible(True)
        words = "untrained" if epoch == 0 else f"epoch {epoch}"
        figure.text(left / width, 1 - 8 / height, words, size=9.5, color=palette.muted, va="center")
    return figure
