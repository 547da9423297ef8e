"""AS-MLP's hyper-parameters. Not in the shapes: shift, and the image's size."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, depths, expansion

MARK = "stages.0.blocks.0.token_mix.enter."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["stages.0.embed.proj.weight"]
    return dict(
        dim=dim,
        depths=depths(shapes),
        patch_size=patch,
        shift=rest.value("shift"),
        expansion=expansion((shapes["stages.0.blocks.0.channel_mlp.fc1.weight"][0], dim)),
        img_size=rest.size(),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
