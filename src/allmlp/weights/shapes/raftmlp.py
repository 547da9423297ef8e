"""RaftMLP's hyper-parameters. Not in the shapes: rafts, of which only the product with the grid is, and in_chans, of
which only the product with the embedding's squares is."""

from itertools import pairwise
from typing import Any

from allmlp.errors import WeightsError
from allmlp.weights.shapes.reading import Rest, Shapes, classes, count, depths, expansion, squares

MARK = "stages.0.blocks.0.vertical."


def hyperparameters_of(shapes: Shapes, rest: Rest) -> dict[str, Any]:
    stages = range(count(shapes, "stages."))
    blocks = [f"stages.{s}.blocks.0." for s in stages]
    rafts = _rafts(rest, len(blocks))
    in_chans = rest.value("in_chans")
    dims, inputs = zip(*(shapes[f"stages.{s}.embed.proj.weight"] for s in stages), strict=True)
    mixed = {axis: [shapes[f"{block}{axis}.mlp.fc1.weight"] for block in blocks] for axis in ("vertical", "horizontal")}
    grids = [(v[1] // r, h[1] // r) for v, h, r in zip(mixed["vertical"], mixed["horizontal"], rafts, strict=True)]
    kernels = rest.given.get("kernels") or _kernels(inputs, (in_chans, *dims[:-1]), grids)
    patches = tuple(min(sides) for sides in kernels)
    return dict(
        dims=dims,
        depths=depths(shapes),
        patch_sizes=patches,
        rafts=rafts,
        kernels=kernels,
        shortcut="stages.0.shortcut.proj.weight" in shapes,
        token_expansion=expansion(*mixed["vertical"], *mixed["horizontal"]),
        expansion=expansion(*(shapes[f"{block}channel_mlp.fc1.weight"] for block in blocks)),
        img_size=(grids[0][0] * patches[0], grids[0][1] * patches[0]),
        in_chans=in_chans,
        num_classes=classes(shapes),
    )


def _rafts(rest: Rest, stages: int) -> tuple[int, ...]:
    """As many as given; the same in every stage where the family's own tuple is of another length."""
    rafts = tuple(rest.value("rafts"))
    return rafts if len(rafts) == stages else rafts[:1] * stages


def _kernels(inputs: tuple[int, ...], chans: tuple[int, ...], grids: list[tuple[int, int]]) -> tuple[tuple[int, ...], ...]:
    """Sides of each stage's squares, of which the shapes show the sum, and the grid the smallest after the first stage."""
    kernels = []
    patches = [None, *(before[0] // after[0] for before, after in pairwise(grids))]
    for stage, (width, chan, patch) in enumerate(zip(inputs, chans, patches, strict=True)):
        found = squares(width // chan, patch) if width % chan == 0 else []
        if len(found) != 1:
            seen = " or ".join(map(str, found)) or f"no squares of {chan} channels around a patch"
            raise WeightsError(
                f"the {width} inputs of stage {stage + 1}'s embedding may be {seen}",
                hint='say what shapes do not show: --hyper.kernels "[[4, 8], [2]]", --hyper.in_chans 1, --hyper.rafts "[2, 2]"',
            )
        kernels.append(found[0])
    return tuple(kernels)
