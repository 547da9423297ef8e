"""Vision Permutator's hyper-parameters. Not in the shapes: the image's size. A matrix has rows · dim / segments
inputs, so that rows and segments show only as a ratio; the size tells them apart."""

from typing import Any

from allmlp.errors import WeightsError
from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, depths, expansion

MARK = "stages.0.blocks.0.token_mix.along_channels."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    _, in_chans, patch, _ = shapes["stages.0.embed.weight"]
    stages = range(count(shapes, "stages."))
    blocks = [f"stages.{s}.blocks.0." for s in stages]
    dims = tuple(shapes[f"{block}channel_norm.weight"][0] for block in blocks)
    inputs = [shapes[f"{block}token_mix.along_rows.weight"][0] for block in blocks]
    strides = [shapes[name][2] if (name := f"stages.{s}.embed.weight") in shapes else 1 for s in stages]
    size = rest.size()
    segments = _segments(size[0], strides, dims, inputs)
    if segments is None:
        sides = [side for side in range(patch, 1025, patch) if _segments(side, strides, dims, inputs)]
        raise WeightsError(
            f"img_size={size} does not fit the shapes; {', '.join(map(str, sides)) or 'no height up to 1024'} would, "
            "and nothing in the file says which",
            hint=f"say the image's size: --hyper.img_size {sides[0] if sides else 224}",
        )
    return dict(
        dims=dims,
        depths=depths(shapes),
        segments=segments,
        patch_size=patch,
        transitions=tuple(stride > 1 for stride in strides[1:]),
        expansions=tuple(
            expansion((shapes[f"{block}channel_mlp.fc1.weight"][0], dim)) for block, dim in zip(blocks, dims, strict=True)
        ),
        img_size=size,
        in_chans=in_chans,
        num_classes=classes(shapes),
    )


def _segments(height: int, strides: list[int], dims: tuple[int, ...], inputs: list[int]) -> tuple[int, ...] | None:
    """Segments of every stage for images of this height; None where they do not come out whole."""
    found, rows = [], height
    for stride, dim, width in zip(strides, dims, inputs, strict=True):
        rows //= stride
        segments = rows * dim // width
        if segments < 1 or segments * width != rows * dim or dim % segments:
            return None
        found.append(segments)
    return tuple(found)
