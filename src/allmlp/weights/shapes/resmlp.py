"""ResMLP's hyper-parameters. Not in the shapes: the image's size, where tokens do not mix by a matrix."""

from typing import Any

from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, expansion

MARK = "blocks.0.token_scale."
_MIX = "blocks.0.token_mix."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    dim, in_chans, patch, _ = shapes["patches.proj.weight"]
    tokens = _tokens(shapes)
    rows, columns = (side // patch for side in rest.size()) if tokens is None else rest.grid(tokens, patch)
    return dict(
        dim=dim,
        depth=count(shapes, "blocks."),
        patch_size=patch,
        expansion=expansion((shapes["blocks.0.channel_mlp.fc1.weight"][0], dim)),
        head="class_mlp" if "class_token" in shapes else "mean",
        token_mixing=_token_mixing(shapes),
        norm="affine" if "norm.alpha" in shapes else "layernorm",
        img_size=(rows * patch, columns * patch),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )


def _tokens(shapes: Shapes) -> int | None:
    for name, extra in ((f"{_MIX}weight", 0), (f"{_MIX}fc1.weight", 0), ("class_blocks.0.token_mix.weight", 1)):
        if name in shapes:
            return shapes[name][1] - extra
    return None


def _token_mixing(shapes: Shapes) -> str:
    if f"{_MIX}weight" in shapes:
        return "linear"
    if f"{_MIX}fc1.weight" in shapes:
        return "mlp"
    if f"{_MIX}0.weight" not in shapes:
        return "none"
    if f"{_MIX}1.weight" in shapes:
        return "separable"
    return "depthwise3x3" if shapes[f"{_MIX}0.weight"][1] == 1 < shapes[f"{_MIX}0.weight"][0] else "conv3x3"
