"""gMLP's hyper-parameters."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, expansion

MARK = "blocks.0.gate.token_mix."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["patches.proj.weight"]
    rows, columns = rest.grid(shapes["blocks.0.gate.token_mix.weight"][0], patch)
    return dict(
        dim=dim,
        depth=count(shapes, "blocks."),
        patch_size=patch,
        expansion=expansion((shapes["blocks.0.fc1.weight"][0], dim)),
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
