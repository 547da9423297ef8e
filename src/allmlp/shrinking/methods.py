"""What can be taken from a model, and what is left of it."""

# axes: n tokens in, m tokens out

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean

import torch
from torch import Tensor

from allmlp.errors import ModelError
from allmlp.explanation.pruning import KEPT
from allmlp.models.base import ImageModel
from allmlp.nn.mlp import Mlp
from allmlp.operators import readable, token_mixing
from allmlp.surgery.factor import factored, factors, ranks_for, token_maps
from allmlp.surgery.magnitude import Scope, kept
from allmlp.surgery.narrow import channel_mlps, narrowed, strongest

SHARES = tuple(share for share in KEPT if share)
"""Of ranks and of hidden units that the curve tries; of weights it also tries none."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Exactly one of the ways, which are tried one after the other by shrinking what was shrunk.

    Raises ModelError for none, for several, and for values that leave nothing or take nothing.
    """

    token_sparsity: float | None = None
    """Share of the token-mixing weights that become zero and stay it, in (0, 1)."""
    scope: Scope = "layer"
    """Of token_sparsity: the share of every matrix, or of all of them together."""
    token_rank: int | None = None
    """Rank of every token-mixing matrix whose two factors are then smaller than it."""
    token_energy: float | None = None
    """The same by the share of its squared singular values that each keeps, in (0, 1)."""
    channel_sparsity: float | None = None
    """Share of the channel MLPs' hidden units that go, in (0, 1)."""

    def __post_init__(self) -> None:
        given = [name for name in WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            words = ", ".join(f"--{name.replace('_', '-')}" for name in WAYS)
            raise ModelError(
                f"{len(given)} ways to shrink are given", hint=f"give one of {words}, and shrink the result by the next"
            )
        value = getattr(self, given[0])
        if given[0] == "token_rank" and value < 1:
            raise ModelError(f"token_rank is {value}", hint="give 1 or more")
        if given[0] != "token_rank" and not 0 < value < 1:
            raise ModelError(f"{given[0]} is {value:g}", hint="give a share between 0 and 1")
        if self.scope not in ("layer", "global"):
            raise ModelError(f"scope is {self.scope!r}", hint="use layer or global")

    @property
    def words(self) -> str:
        """For file names and headings."""
        name = next(name for name in WAYS if getattr(self, name) is not None)
        everywhere = "-global" if name == "token_sparsity" and self.scope == "global" else ""
        return f"{name.replace('_', '-')}-{getattr(self, name):g}{everywhere}"


WAYS = ("token_sparsity", "token_rank", "token_energy", "channel_sparsity")


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """What is left."""

    model: ImageModel
    masks: Mapping[str, Tensor]
    """Of a sparse model: true where a weight stays, by the parameter's name."""
    left: float
    """Share of the weights, of the ranks on average, or of the hidden units that is left, in (0, 1]."""


def shrunk(model: ImageModel, asked: Asked) -> Shrunk:
    """A copy without what was asked for. Raises ModelError for a family that this is not offered for, or takes nothing from."""
    if asked.token_sparsity is not None:
        masks = kept(mixing_weights(model), 1 - asked.token_sparsity, asked.scope)
        copy = model.twin().eval()
        copy.load_state_dict(
            {name: value * masks[name] if name in masks else value for name, value in model.state_dict().items()}
        )
        copy.name, copy.classes, copy.preprocessing = model.name, model.classes, model.preprocessing
        return Shrunk(model=copy, masks=masks, left=1 - asked.token_sparsity)
    if asked.channel_sparsity is not None:
        return Shrunk(model=narrowed(model, asked.channel_sparsity), masks={}, left=1 - asked.channel_sparsity)
    ranks = ranks_for(model, rank=asked.token_rank, energy=asked.token_energy)
    full = [min(linear.weight.shape) for linear in token_maps(model).values()]
    left = mean((rank or most) / most for rank, most in zip(ranks, full, strict=True))
    return Shrunk(model=factored(model, ranks), masks={}, left=left)


def levels(model: ImageModel, asked: Asked) -> dict[float, dict[str, Tensor]]:
    """Share left → values of the model's own parameters that compute what is left so much of."""
    if asked.token_sparsity is not None:
        weights = mixing_weights(model)
        return {
            share: {name: weights[name] * mask for name, mask in kept(weights, share, asked.scope).items()} for share in KEPT
        }
    if asked.channel_sparsity is not None:
        mlps = channel_mlps(model)
        return {share: {f"{n}.fc2.weight": _without(m, share) for n, m in mlps.items()} for share in SHARES}
    maps = token_maps(model)
    return {share: {f"{n}.weight": _nearest(linear.weight, share) for n, linear in maps.items()} for share in SHARES}


def mixing_weights(model: ImageModel) -> dict[str, Tensor]:
    """Every parameter that mixes tokens, by name. Raises ModelError where there is none, or it is trained in another form."""
    if readable(model) is not model:
        raise ModelError(f"{model.family} is trained in another form than it is deployed in", hint="shrink another family")
    return {name: model.get_parameter(name).detach() for mixing in token_mixing(model) for name in mixing.weights}


def _without(mlp: Mlp, share: float) -> Tensor:
    """fc2's matrix with zeros for all but the strongest hidden units."""
    weight = mlp.fc2.weight.detach()
    units = strongest(mlp, max(round(share * weight.shape[1]), 1))
    return torch.zeros_like(weight).index_copy(1, units, weight[:, units])


def _nearest(weight: Tensor, share: float) -> Tensor:  # m n → m n
    """The nearest matrix of a share of the full rank, of rank 1 at least."""
    down, up = factors(weight, max(round(share * min(weight.shape)), 1))
    return up @ down
