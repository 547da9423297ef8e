"""Token-mixing matrices in two factors: A ≈ U V by its singular values (Eckart and Young, 1936)."""

# axes: n tokens in, m tokens out, r rank

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.base import ImageModel
from allmlp.models.mixer import Mixer
from allmlp.models.resmlp import ResMLP
from allmlp.models.smlpnet import SMLPNet

MAPS = {
    ResMLP: ("token_mix",),
    Mixer: ("token_mlp.fc1", "token_mlp.fc2"),
    SMLPNet: ("sparse.along_columns", "sparse.along_rows"),
}
"""Family → the linear maps along tokens in each of its blocks, in the order of its `token_rank`."""


def token_maps(model: ImageModel) -> dict[str, nn.Linear]:
    """Name → whole matrix, in the order of `token_rank`.

    Raises ModelError for a family that has no low rank, and for a model that has no whole matrices.
    """
    places = next((places for kind, places in MAPS.items() if isinstance(model, kind)), None)
    if places is None:
        raise ModelError(f"low rank is not offered for {model.family}", hint="it is for resmlp, mixer and smlpnet")
    blocks = {name: block for name, block in model.named_modules() if any(block is b for b in model.blocks_of())}
    found = {f"{name}.{place}": block.get_submodule(place) for name, block in blocks.items() for place in places}
    whole = {name: module for name, module in found.items() if isinstance(module, nn.Linear)}
    if len(whole) < len(found):
        raise ModelError(f"this {model.family} mixes tokens otherwise than by whole matrices", hint="shrink the original")
    return whole


def ranks_for(model: ImageModel, *, rank: int | None = None, energy: float | None = None) -> tuple[int, ...]:
    """The rank of each matrix, 0 where two factors would be no smaller than it.

    rank: for all. energy: the least rank of each whose squared singular values are this share, in (0, 1], of their sum.
    Raises ModelError where nothing would be smaller.
    """
    found = []
    for linear in token_maps(model).values():
        rows, columns = linear.weight.shape
        wanted = rank if rank is not None else _rank_of(linear.weight, 1.0 if energy is None else energy)
        found.append(wanted if wanted * (rows + columns) < rows * columns else 0)
    if not any(found):
        sizes = sorted({tuple(linear.weight.shape) for linear in token_maps(model).values()})
        shown = ", ".join(f"{m}×{n} below rank {-(-m * n // (m + n))}" for m, n in sizes)
        raise ModelError("two factors would be no smaller than any of the matrices", hint=f"ask for less: {shown}")
    return tuple(found)


def factored(model: ImageModel, ranks: Sequence[int]) -> ImageModel:
    """A copy whose token-mixing matrices are products of two factors, the best of these ranks; 0 leaves one whole.

    At full rank it computes the same, to rounding. Raises ModelError as `token_maps` does, and for other than one rank each.
    """
    maps = token_maps(model)
    if len(ranks) != len(maps) or any(rank < 0 for rank in ranks):
        raise ModelError(f"{len(ranks)} ranks for {len(maps)} matrices", hint="give one for each, from 0 on")
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for (name, linear), rank in zip(maps.items(), ranks, strict=True):
        if rank:
            del tensors[f"{name}.weight"]
            tensors[f"{name}.down.weight"], tensors[f"{name}.up.weight"] = factors(linear.weight, rank)
            tensors[f"{name}.up.bias"] = tensors.pop(f"{name}.bias")
    return rebuilt(model, {"token_rank": tuple(ranks)}, tensors)


def factors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:  # m n → r n, m r
    """V and U with U V nearest to the matrix; each has the root of the singular values. Zeros beyond the matrix's own rank."""
    left, values, right = torch.linalg.svd(weight.detach().double(), full_matrices=False)
    roots = torch.zeros(rank, dtype=values.dtype, device=values.device)
    count = min(rank, len(values))
    roots[:count] = values[:count].sqrt()
    down, up = weight.new_zeros(rank, weight.shape[1]), weight.new_zeros(weight.shape[0], rank)
    down[:count] = (roots[:count, None] * right[:count]).to(weight)
    up[:, :count] = (left[:, :count] * roots[:count]).to(weight)
    return down, up


def rebuilt(model: ImageModel, changed: dict[str, object], tensors: dict[str, Tensor]) -> ImageModel:
    """The model of other hyper-parameters with these tensors, under the same name, classes and preprocessing."""
    with torch.device("meta"):
        made = type(model)(**{**model.hyperparameters, **changed})
    made.load_state_dict(tensors, assign=True)
    made.name, made.classes, made.preprocessing = model.name, model.classes, model.preprocessing
    return made.train(model.training)


def _rank_of(weight: Tensor, energy: float) -> int:
    squares = torch.linalg.svdvals(weight.detach().double()).square()
    return int((squares.cumsum(0) < energy * squares.sum() * (1 - 1e-12)).sum()) + 1
