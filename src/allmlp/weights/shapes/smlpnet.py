"""sMLPNet's hyper-parameters: all of them are in the shapes."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, depths, expansion

MARK = "stages.0.blocks.0.sparse."
_BLOCK = "stages.0.blocks.0."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["stages.0.embed.weight"]
    rows, columns = (shapes[f"{_BLOCK}sparse.along_{axis}.weight"][0] for axis in ("rows", "columns"))
    return dict(
        dim=dim,
        depths=depths(shapes),
        patch_size=patch,
        expansion=expansion((shapes[f"{_BLOCK}channel_mlp.fc1.weight"][0], dim)),
        fusion="linear" if f"{_BLOCK}sparse.fuse.weight" in shapes else "split_attention",
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )
