"""The exact inference form: scales and shifts that stand beside a matrix become part of it.

Nothing is approximated: a scale before a linear map scales the map's columns, one after it the rows, and a
shift before it moves the bias. Sums are made in float64 and rounded once.
"""

# axes: n tokens, c channels, o outputs

import copy
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from allmlp.models import asmlp, convmlp, eamlp, ffonly, gmlp, mixer, raftmlp, repmlpnet, resmlp, smlpnet, vip
from allmlp.models.base import ImageModel
from allmlp.nn.affine import Affine, LayerScale
from allmlp.nn.mixing import AlongTokens
from allmlp.surgery.locality import inject_locality

Map = nn.Linear | nn.Conv2d


def fold(model: ImageModel) -> ImageModel:
    """A copy of a model for inference, with the same logits to rounding and fewer operations and parameters.

    Affine, LayerScale and BatchNorm that stand beside a matrix, the scale and shift of LayerNorm, RepMLPNet's
    convolutions and stochastic depth disappear. What a GELU separates from every matrix stays. Where there is a
    head, the final norm's scale and shift become part of it, so that `forward_features` of the copy lacks them.
    The copy is for inference: its state dict is not the original's, and it is not trained further.
    """
    folded = inject_locality(model) if isinstance(model, repmlpnet.RepMLPNet) else copy.deepcopy(model).eval()
    with torch.no_grad():
        for module in list(folded.modules()):
            for rule in RULES.get(type(module), ()):
                rule(module)
        if isinstance(folded.head, nn.Linear) and not _has_shortcuts(folded):
            _norm_into(folded, "norm", folded.head)
    for parameter in folded.parameters():
        parameter.requires_grad_(False)
    return folded


def _has_shortcuts(model: ImageModel) -> bool:
    """RaftMLP's scale and shift of the image's own stand between the final norm and the head."""
    return any(isinstance(module, raftmlp.Shortcut) for module in model.modules())


def absorb_before(linear: Map, scale: Tensor, shift: Tensor) -> None:
    """linear ← x ↦ linear(scale · x + shift), per channel; a convolution must see nothing outside its grid."""
    weight = linear.weight.double()
    per_input = scale.double().reshape(1, -1, *[1] * (weight.ndim - 2))
    moved = (weight * shift.double().reshape(per_input.shape)).flatten(1).sum(1)
    linear.weight.copy_(weight * per_input)
    _set_bias(linear, moved if linear.bias is None else linear.bias.double() + moved)


def absorb_after(linear: Map, scale: Tensor, shift: Tensor | None = None) -> None:
    """linear ← x ↦ scale · linear(x) + shift, per output."""
    weight = linear.weight.double()
    bias = 0 if linear.bias is None else linear.bias.double() * scale.double()
    linear.weight.copy_(weight * scale.double().reshape(-1, *[1] * (weight.ndim - 1)))
    if shift is not None or linear.bias is not None:
        _set_bias(linear, bias + (torch.zeros_like(scale) if shift is None else shift).double())


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """What a norm does per channel after (LayerNorm) or instead of (Affine, BatchNorm in evaluation) normalising."""
    if isinstance(norm, Affine):
        return norm.alpha, norm.beta
    if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None:
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        return scale, norm.bias.double() - norm.running_mean.double() * scale
    if isinstance(norm, nn.LayerNorm | nn.GroupNorm) and norm.weight is not None:
        return norm.weight, norm.bias
    return None


def _norm_into(owner: nn.Module, name: str, linear: nn.Module) -> None:
    """Move a norm's scale and shift into the linear map that follows it."""
    norm = getattr(owner, name)
    found = scale_and_shift(norm)
    if found is None or not isinstance(linear, nn.Linear | nn.Conv2d):
        return
    absorb_before(linear, *found)
    setattr(owner, name, _bare(norm))


def _bare(norm: nn.Module) -> nn.Module:
    """The norm without its scale and shift."""
    if isinstance(norm, Affine | nn.BatchNorm2d):
        return nn.Identity()
    norm.weight, norm.bias = None, None  # type: ignore[assignment]
    return norm


def _norm_before(norm: str, linear: str) -> Callable[[nn.Module], None]:
    return lambda block: _norm_into(block, norm, block.get_submodule(linear))


def _norm_after(linear: str, norm: str) -> Callable[[nn.Module], None]:
    """Move a BatchNorm into the convolution before it."""

    def rule(block: nn.Module) -> None:
        owner, _, name = norm.rpartition(".")
        found = scale_and_shift(block.get_submodule(norm))
        conv = block.get_submodule(linear)
        if found is not None and isinstance(conv, nn.Linear | nn.Conv2d):
            absorb_after(conv, *found)
            setattr(block.get_submodule(owner), name, nn.Identity())

    return rule


def _layer_scale(block: nn.Module) -> None:
    """γ of the channel half becomes part of the MLP's second matrix."""
    scale = block.channel_scale
    if isinstance(scale, LayerScale):
        absorb_after(block.channel_mlp.fc2, scale.gamma)  # type: ignore[arg-type, union-attr]
        block.channel_scale = nn.Identity()


class ScaleAndBias(nn.Module):
    """γα per channel, and a bias that is a sum of two outer products of a token and a channel vector."""

    def __init__(self, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.scale, self.bias = nn.Parameter(scale), nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:  # b n c → b n c
        return self.scale * x + self.bias


def _token_affine(block: nn.Module) -> None:
    """γ · (A(αx + β) + b) = γα · Ax + γ · (A1 βᵀ + b 1ᵀ): A itself has no room for values per channel."""
    norm, mix, scale = block.token_norm, block.token_mix, block.token_scale
    if not (isinstance(norm, Affine) and isinstance(mix, AlongTokens) and isinstance(scale, LayerScale)):
        return
    rows = mix.weight.double().sum(1, keepdim=True)  # n 1
    bias = rows * norm.beta.double() + mix.bias.double()[:, None]  # n c
    gamma, alpha = scale.gamma.double(), norm.alpha.double()
    block.token_norm = nn.Identity()
    block.token_scale = ScaleAndBias((gamma * alpha).to(norm.alpha), (gamma * bias).to(norm.alpha))
    mix.bias = None  # type: ignore[assignment]


def _sequence_norms(block: nn.Module) -> None:
    """Convolution, BatchNorm pairs inside a sequence."""
    children = list(block.named_children())
    for (_, before), (name, norm) in pairwise(children):
        found = scale_and_shift(norm) if isinstance(norm, nn.BatchNorm2d) else None
        if found is not None and isinstance(before, nn.Conv2d):
            absorb_after(before, *found)
            setattr(block, name, nn.Identity())


def _set_bias(linear: Map, bias: Tensor) -> None:
    linear.bias = nn.Parameter(bias.to(linear.weight))


_CHANNEL_MLP = _norm_before("channel_norm", "channel_mlp.fc1")
RULES: dict[type[nn.Module], tuple[Callable[[nn.Module], None], ...]] = {
    mixer.MixerBlock: (_CHANNEL_MLP,),
    resmlp.ResMLPBlock: (_token_affine, _CHANNEL_MLP, _layer_scale),
    resmlp.ClassMLPBlock: (_token_affine, _CHANNEL_MLP, _layer_scale),
    smlpnet.SparseMLPBlock: (_norm_after("depthwise.conv", "sparse.norm"), _CHANNEL_MLP),
    gmlp.GMLPBlock: (_norm_before("norm", "fc1"),),
    asmlp.ASMLPBlock: (_norm_before("token_norm", "token_mix.enter"), _CHANNEL_MLP),
    asmlp.AxialShift: (_norm_before("leave_norm", "leave"),),
    asmlp.PatchMerging: (_norm_before("norm", "reduction"),),
    convmlp.ConvMLPBlock: (_norm_before("norm1", "mlp1.fc1"), _norm_before("norm2", "mlp2.fc1")),
    convmlp.Tokenizer: (_sequence_norms,),
    convmlp.ConvBlock: (_sequence_norms,),
    raftmlp.RaftBlock: (_CHANNEL_MLP,),
    repmlpnet.ConvNorm: (_norm_after("conv", "norm"),),
    repmlpnet.RepMLPBlock: (_norm_before("channel_norm", "enter.conv"),),
    vip.PermutatorBlock: (_CHANNEL_MLP,),
    eamlp.EAMLPBlock: (_norm_before("token_norm", "token_mix.widen"), _CHANNEL_MLP),
    eamlp.ReducingBlock: (_norm_before("token_norm", "reduce"), _CHANNEL_MLP),
    ffonly.FFOnlyBlock: (_CHANNEL_MLP, _norm_before("token_norm", "token_mlp.fc1")),
}
