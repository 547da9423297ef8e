"""FF-only's hyper-parameters: all of them are in the shapes."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, expansion

MARK = "class_position"


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["patches.proj.weight"]
    rows, columns = shapes["grid_position"][2:]
    channel_hidden, _ = shapes["blocks.0.channel_mlp.fc1.weight"]
    token_hidden, tokens = shapes["blocks.0.token_mlp.fc1.weight"]
    return dict(
        dim=dim,
        depth=count(shapes, "blocks."),
        patch_size=patch,
        expansion=expansion((channel_hidden, dim), (token_hidden, tokens)),
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
