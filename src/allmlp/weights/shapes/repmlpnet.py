"""RepMLPNet's hyper-parameters."""

import re
from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, depths, expansion

MARK = "stages.0.blocks.0.gate."
_BLOCK = "stages.0.blocks.0."
_KERNEL = re.compile(rf"{re.escape(_BLOCK)}mix\.local\.(\d+)\.conv\.weight")


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["stages.0.embed.conv.weight"]
    mix = "mix." if f"{_BLOCK}mix.weight" in shapes else "mix.channel."
    rows, columns = rest.grid(shapes[f"{_BLOCK}{mix}weight"][1], patch)
    values = dict(
        dim=dim,
        depths=depths(shapes),
        sharesets=tuple(shapes[f"stages.{s}.blocks.0.{mix}weight"][0] for s in range(count(shapes, "stages."))),
        patch_size=patch,
        expansion=expansion((shapes[f"{_BLOCK}enter.conv.weight"][0], dim)),
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
    if mix == "mix.":
        return {**values, "form": "deployed"}
    return {**values, "kernels": tuple(sorted(int(match[1]) for name in shapes if (match := _KERNEL.fullmatch(name))))}
