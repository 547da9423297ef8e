"""What ResMLP's token mixing does across layers: a product of matrices, because its blocks have no other nonlinearity there."""

# axes: l layers, n places, c channels

import torch
from torch import Tensor

from allmlp.errors import ModelError
from allmlp.models.base import ImageModel
from allmlp.models.resmlp import ResMLPBlock
from allmlp.nn.affine import Affine
from allmlp.nn.mixing import AlongTokens

CHANNELS = 64
"""Channels that are averaged unless told otherwise, at even distances: of many, few say the same."""


@torch.no_grad()
def linear_path(model: ImageModel, *, channels: int | None = CHANNELS) -> Tensor:  # → l n n, float64
    """After each block, what a patch has gathered from all patches along the linear path, mean over channels.

    For channel c that is the product of I + γ_c α_c A over the blocks so far: exactly what ResMLP computes without its
    channel MLPs and shifts. channels: how many are averaged; all for None. Raises ModelError for other architectures.
    """
    blocks = [block for block in model.blocks_of() if isinstance(block, ResMLPBlock)]
    if not blocks or not all(isinstance(b.token_mix, AlongTokens) and isinstance(b.token_norm, Affine) for b in blocks):
        raise ModelError(
            f"{model.name or model.family} has no linear path across its layers",
            hint="use a ResMLP with affine norms and linear token mixing, not folded; receptive fields are for all",
        )
    width = model.num_features
    chosen = torch.linspace(0, width - 1, min(channels or width, width)).round().long()
    scales = [_plain(block, "token_scale.gamma").flatten() * _plain(block, "token_norm.alpha").flatten() for block in blocks]
    matrices = [_plain(block, "token_mix.weight") for block in blocks]
    places = len(matrices[0])
    total = torch.zeros(len(blocks), places, places, dtype=torch.float64)
    for c in chosen.tolist():
        path = torch.eye(places, dtype=torch.float64)
        for layer, (scale, matrix) in enumerate(zip(scales, matrices, strict=True)):
            path = path + scale[c] * (matrix @ path)
            total[layer] += path
    return total / len(chosen)


def _plain(block: ResMLPBlock, name: str) -> Tensor:
    return block.get_parameter(name).to("cpu", torch.float64)
