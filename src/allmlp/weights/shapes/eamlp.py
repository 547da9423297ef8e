"""EAMLP's hyper-parameters. Not in the shapes: in_chans, of which only the product with the first window is."""

from math import isqrt
from typing import Any

from allmlp.errors import WeightsError
from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, expansion

MARK = "blocks.0.token_mix.widen."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    in_chans = rest.value("in_chans")
    joined = shapes["patches.reductions.0.reduce.weight"][1]
    window = isqrt(joined // in_chans)
    if window**2 * in_chans != joined or window % 2 == 0:
        raise WeightsError(
            f"{joined} inputs of the first soft split are no square windows of {in_chans} channels",
            hint="say how many channels images have: --hyper.in_chans 1",
        )
    patch = 4 * ((window + 1) // 2)
    dim = shapes["class_token"][2]
    rows, columns = rest.grid(shapes["position"][1] - 1, patch)
    return dict(
        dim=dim,
        depth=count(shapes, "blocks."),
        heads=dim // shapes["blocks.0.token_mix.memory.keys.weight"][1],
        patch_size=patch,
        expansion=expansion((shapes["blocks.0.channel_mlp.fc1.weight"][0], dim)),
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
