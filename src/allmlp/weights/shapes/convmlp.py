"""ConvMLP's hyper-parameters. Not in the shapes: the image's size."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, depths, expansion

MARK = "stem.tokenizer."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    stages = range(count(shapes, "stages."))
    dims = tuple(shapes[f"stages.{s}.embed.weight"][0] for s in stages)
    hidden = (shapes[f"stages.{s}.blocks.0.mlp1.fc1.weight"][0] for s in stages)
    return dict(
        channels=shapes["stem.tokenizer.6.weight"][0],
        dims=dims,
        depths=depths(shapes),
        expansions=tuple(expansion(pair) for pair in zip(hidden, dims, strict=True)),
        conv_blocks=count(shapes, "stem.blocks."),
        img_size=rest.size(),
        in_chans=shapes["stem.tokenizer.0.weight"][1],
        num_classes=classes(shapes),
    )
