"""Locality injection: RepMLPNet's convolutions become part of its matrices (Ding et al., 2022)."""

# axes: y x rows and columns of the grid, n = y · x positions, m positions out, s sets of channels

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.errors import ModelError
from allmlp.models.repmlpnet import ChannelPerceptron, ConvNorm, LocalisedPerceptron, RepMLPBlock, RepMLPNet


def inject_locality(model: nn.Module) -> RepMLPNet:
    """The deployed form of a RepMLPNet, in evaluation mode: the same logits with fewer multiply-adds.

    A convolution is a linear map of the grid, and BatchNorm in evaluation a scale and a shift: both are added to
    the matrix beside them, in float64, before it is rounded back. `model` is left as it was; a model that is
    deployed already is copied. Raises ModelError for another architecture.
    """
    if not isinstance(model, RepMLPNet):
        raise ModelError(f"{type(model).__name__} has no convolutions to inject", hint="use a model of the family repmlpnet")
    deployed = copy.deepcopy(model).eval()
    for block in list(deployed.modules()):
        if isinstance(block, RepMLPBlock) and isinstance(block.mix, LocalisedPerceptron):
            block.mix = _deployed(block.mix)
    deployed.hyperparameters = {**model.hyperparameters, "form": "deployed"}
    return deployed


@torch.no_grad()
def _deployed(mix: LocalisedPerceptron) -> ChannelPerceptron:
    trained = mix.channel.weight
    grid, sets = mix.channel.grid, mix.channel.sets
    scale, bias = _scale_and_shift(mix.norm)
    weight = trained.cpu().double() * scale[:, None, None]
    for conv in mix.local.values():
        assert isinstance(conv, ConvNorm)
        scale, shift = _scale_and_shift(conv.norm)
        weight += conv_matrix(conv.conv.weight.cpu().double(), grid) * scale[:, None, None]
        bias = bias + shift
    with torch.device("meta"):
        fused = ChannelPerceptron(sets=sets, grid=grid)
    fused.weight = nn.Parameter(weight.to(trained), trained.requires_grad)
    fused.bias = nn.Parameter(bias.repeat_interleave(weight.shape[1]).to(trained), trained.requires_grad)
    return fused.eval()


def conv_matrix(kernel: Tensor, grid: tuple[int, int]) -> Tensor:  # s 1 k k → s m n
    """What a depthwise convolution that keeps the grid, with zeros outside, does to the flattened grid."""
    positions = grid[0] * grid[1]
    each = torch.eye(positions, dtype=kernel.dtype).view(positions, 1, *grid).expand(-1, kernel.shape[0], -1, -1)  # n s y x
    return F.conv2d(each, kernel, padding=kernel.shape[2] // 2, groups=kernel.shape[0]).flatten(2).permute(1, 2, 0)


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:  # s, s
    """BatchNorm in evaluation."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance, gamma, beta = (t.cpu().double() for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    scale = gamma / (variance + norm.eps).sqrt()
    return scale, beta - mean * scale
