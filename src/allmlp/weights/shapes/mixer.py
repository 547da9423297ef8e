"""MLP-Mixer's hyper-parameters. Not in the shapes: act."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, count

MARK = "blocks.0.token_mlp."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["patches.proj.weight"]
    token_hidden, tokens = shapes["blocks.0.token_mlp.fc1.weight"]
    rows, columns = rest.grid(tokens, patch)
    return dict(
        dim=dim,
        depth=count(shapes, "blocks."),
        patch_size=patch,
        token_hidden=token_hidden,
        channel_hidden=shapes["blocks.0.channel_mlp.fc1.weight"][0],
        act=rest.value("act"),
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
