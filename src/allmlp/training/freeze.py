"""Which part of a model stays as it was learnt elsewhere."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from allmlp.models.base import ImageModel
from allmlp.nn.affine import Affine

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, Affine)
"""Affine is what ResMLP has in the place of a norm."""


def freeze(model: ImageModel, which: str) -> None:
    """which: "none"; "backbone": all but the head; "all-but-norms": all but the head and the norms."""
    if which == "none":
        return
    learns = {id(parameter) for parameter in model.get_classifier().parameters()}
    if which == "all-but-norms":
        norms = (part for part in model.modules() if isinstance(part, NORMS))
        learns |= {id(parameter) for norm in norms for parameter in norm.parameters()}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in learns)


def learning(model: nn.Module) -> nn.Module:
    """The model in training mode; batch norms whose weights stay keep their statistics too."""
    model.train()
    for part in model.modules():
        if isinstance(part, _BatchNorm) and part.weight is not None and not part.weight.requires_grad:
            part.eval()
    return model
