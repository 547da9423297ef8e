"""The weights by which a model mixes tokens, read as matrices that act on the patch grid."""

# axes: n places in, m places out, s sets of channels or pairs of channels, u hidden units, y x rows and columns of the grid

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.base import ImageModel
from allmlp.models.ffonly import FFOnlyBlock
from allmlp.models.raftmlp import HorizontalMix, VerticalMix
from allmlp.models.repmlpnet import ChannelPerceptron, RepMLPNet
from allmlp.nn.lowrank import LowRank, LowRankAlongColumns, LowRankAlongRows, LowRankAlongTokens
from allmlp.nn.mixing import AlongColumns, AlongRows, AlongTokens
from allmlp.nn.mlp import TokenMlp
from allmlp.nn.segments import SegmentsAlongColumns, SegmentsAlongRows
from allmlp.surgery.locality import inject_locality

Grid = tuple[int, int]
"""(rows, columns) of places."""

WITHOUT = {
    "asmlp": "AS-MLP moves channels by fixed distances, without weights",
    "convmlp": "ConvMLP mixes places by 3 × 3 convolutions alone",
    "eamlp": "EAMLP's external attention makes its weights anew for every picture",
    "resmlp": "this ResMLP's token mixing is a convolution, or nothing",
}
"""Family → why a model of it may have no token-mixing matrix."""


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """One token-mixing layer, in float64 on the CPU."""

    name: str
    """Where in the model, such as "blocks.3" or "stages.1.blocks.0"."""
    kind: str
    """"tokens": a matrix. "mlp": the product of both matrices of an MLP, its GELU left out. "pairs": the root mean
    square over pairs of channels, without sign. "class": what the class token gathers."""
    axis: str
    """"grid", "rows" (along the height), or "columns" (along the width)."""
    grid: Grid
    """(rows, columns) of the places; one of both is 1 along a single axis."""
    matrices: Tensor  # s m n
    """What place m takes of place n: rows gather. More than one where sets of channels have their own."""
    units: Tensor | None = None  # u n
    """What each hidden unit of an MLP gathers."""
    weights: tuple[str, ...]
    """Names of the parameters that mix places."""

    @property
    def matrix(self) -> Tensor:  # m n
        """The first set's."""
        return self.matrices[0]


def token_mixing(model: ImageModel) -> list[Mixing]:
    """Every token-mixing layer, in the model's order. RepMLPNet is read in its deployed form.

    A class token's row and column are left out: it has no place on the grid.
    Raises ModelError for a model without token-mixing matrices, and says what it has instead.
    """
    model = readable(model)
    found: list[Mixing] = []
    for name, module in model.named_modules():
        for kind, read in READERS.items():
            if isinstance(module, kind):
                found += read(name, module, getattr(model, "grid", (1, 1)))
                break
    if not found:
        why = WITHOUT.get(model.family, "this architecture mixes places in another way")
        raise ModelError(
            f"{model.name or model.family} has no token-mixing matrices: {why}",
            hint="its receptive field and what speaks for a class can be shown all the same",
        )
    return found


def readable(model: ImageModel) -> ImageModel:
    """The form whose parameters are the matrices: RepMLPNet deployed, any other as it is."""
    return inject_locality(model) if isinstance(model, RepMLPNet) else model


def _along_tokens(name: str, module: nn.Module, grid: Grid) -> list[Mixing]:
    assert isinstance(module, AlongTokens | LowRankAlongTokens)
    matrix = _plain(module.weight)
    if len(matrix) == matrix.shape[1]:
        kind = "tokens"
    else:  # class-MLP: a row of the class token's own weight, then one for each patch
        kind, matrix = "class", matrix[:, 1:]
    parent = name.removesuffix(".token_mix").removesuffix(".gate")
    return [Mixing(name=parent, kind=kind, axis="grid", grid=grid, matrices=matrix[None], weights=_weights(name, module))]


def _token_mlp(name: str, module: nn.Module, grid: Grid) -> list[Mixing]:
    assert isinstance(module, TokenMlp)
    first, second = (_plain(linear.weight) for linear in (module.fc1, module.fc2))
    weights = (*_weights(f"{name}.fc1", module.fc1), *_weights(f"{name}.fc2", module.fc2))
    return [_mlp(name.rpartition(".")[0], first, second, grid, weights)]


def _class_token_mlp(name: str, module: nn.Module, grid: Grid) -> list[Mixing]:
    assert isinstance(module, FFOnlyBlock)
    first, second = (_plain(linear.weight) for linear in (module.token_mlp.fc1, module.token_mlp.fc2))
    weights = (f"{name}.token_mlp.fc1.weight", f"{name}.token_mlp.fc2.weight")
    return [_mlp(name, first[:, 1:], second[1:], grid, weights)]


def _mlp(name: str, first: Tensor, second: Tensor, grid: Grid, weights: tuple[str, ...]) -> Mixing:  # u n, m u
    return Mixing(
        name=name,
        kind="mlp",
        axis="grid",
        grid=grid,
        matrices=(second @ first)[None],
        units=first,
        weights=weights,
    )


def _along_axis(name: str, module: nn.Module, _grid: Grid) -> list[Mixing]:
    assert isinstance(module, AlongRows | AlongColumns | LowRankAlongRows | LowRankAlongColumns)
    rows = isinstance(module, AlongRows | LowRankAlongRows)
    parent = name.rpartition(".")[0].removesuffix(".sparse")
    return [_axis(parent, "tokens", rows, _plain(module.weight)[None], *_weights(name, module))]


def _segments(name: str, module: nn.Module, _grid: Grid) -> list[Mixing]:
    assert isinstance(module, SegmentsAlongRows | SegmentsAlongColumns)
    apart = _plain(module.weight).unflatten(1, (module.cells, -1)).unflatten(0, (module.cells, -1))  # m s n s
    size = apart.square().mean((1, 3)).sqrt()
    parent = name.rpartition(".")[0].removesuffix(".token_mix")
    return [_axis(parent, "pairs", isinstance(module, SegmentsAlongRows), size[None], f"{name}.weight")]


def _rafts(name: str, module: nn.Module, _grid: Grid) -> list[Mixing]:
    assert isinstance(module, VerticalMix)
    product = _plain(module.mlp.fc2.weight) @ _plain(module.mlp.fc1.weight)
    apart = product.unflatten(1, (module.rafts, -1)).unflatten(0, (module.rafts, -1))  # r m r n
    size = apart.square().mean((0, 2)).sqrt()
    names = (f"{name}.mlp.fc1.weight", f"{name}.mlp.fc2.weight")
    return [_axis(name.rpartition(".")[0], "pairs", not isinstance(module, HorizontalMix), size[None], *names)]


def _axis(name: str, kind: str, rows: bool, matrices: Tensor, *weights: str) -> Mixing:
    side = matrices.shape[-1]
    axis, grid = ("rows", (side, 1)) if rows else ("columns", (1, side))
    return Mixing(name=name, kind=kind, axis=axis, grid=grid, matrices=matrices, weights=weights)


def _sets(name: str, module: nn.Module, _grid: Grid) -> list[Mixing]:
    assert isinstance(module, ChannelPerceptron)
    matrices, parent = _plain(module.weight), name.removesuffix(".mix")
    return [Mixing(name=parent, kind="tokens", axis="grid", grid=module.grid, matrices=matrices, weights=(f"{name}.weight",))]


def _weights(name: str, module: nn.Module) -> tuple[str, ...]:
    """Names of the matrix, or of its two factors."""
    return (f"{name}.down.weight", f"{name}.up.weight") if isinstance(module, LowRank) else (f"{name}.weight",)


def _plain(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float64)


READERS: dict[type[nn.Module], Callable[[str, nn.Module, Grid], Sequence[Mixing]]] = {
    AlongTokens: _along_tokens,
    LowRankAlongTokens: _along_tokens,
    TokenMlp: _token_mlp,
    FFOnlyBlock: _class_token_mlp,
    AlongRows: _along_axis,
    AlongColumns: _along_axis,
    LowRankAlongRows: _along_axis,
    LowRankAlongColumns: _along_axis,
    SegmentsAlongRows: _segments,
    SegmentsAlongColumns: _segments,
    VerticalMix: _rafts,
    ChannelPerceptron: _sets,
}
"""Module that mixes places → how its weights are read."""
