"""What every registered model is held to: each variant, made small enough to test in milliseconds.

A new architecture is found through the registry; whatever hyper-parameters it shares with the others
by name (dim, depth, depths, ...) are shrunk here, and the image until the last grid has two rows.
"""

# axes: b batch, c channels, h w pixels, k classes

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models import create_model, list_models
from allmlp.models.base import ImageModel
from allmlp.nn.external import Memory
from allmlp.registry import family_of

PATCH, CLASSES = 4, 5
_SMALL = {"dim": 8, "depth": 2, "patch_size": PATCH, "token_hidden": 6, "channel_hidden": 12, "num_classes": CLASSES}
_SMALL |= {"channels": 8, "conv_blocks": 1, "heads": 2}


def small_values(name: str) -> dict[str, Any]:
    """The variant's hyper-parameters, with sizes cut down and everything else kept."""
    family = family_of(name)
    values = dict(family.variants[name])
    stages = len(values.get("depths", (1,)))
    values.update({key: value for key, value in _SMALL.items() if key in values or key == "num_classes"})
    if "patch_size" in inspect.signature(family.builder).parameters:
        values["patch_size"] = PATCH
    if "depths" in values:
        values["depths"] = (1,) * (stages - 1) + (2,)
    if "dims" in values:
        values["dims"] = tuple(8 + 4 * stage for stage in range(stages))
    if "segments" in values:
        values["segments"] = (4,) * stages
    if "sharesets" in values:
        values["sharesets"] = tuple(2**stage for stage in range(stages))
    values["img_size"] = _side(name, values)
    return values


def _side(name: str, values: dict[str, Any]) -> int:
    """The smallest image, in pixels a side, whose last grid has two rows."""
    side, rows = PATCH, 0
    while rows < 2:
        side *= 2
        try:
            with torch.device("meta"):
                rows = side // create_model(name, **{**values, "img_size": side}).feature_info[-1]["reduction"]
        except ModelError:  # too small for the last stage
            continue
    return side


def small_models() -> dict[str, dict[str, Any]]:
    """Variant → small hyper-parameters, one variant for each set of values that differs once it is small."""
    kept: dict[str, dict[str, Any]] = {}
    for name in list_models():
        values = small_values(name)
        same = any(family_of(other) is family_of(name) and values == kept[other] for other in kept)
        if not same:
            kept[name] = values
    return kept


SMALL = small_models()


def build(name: str, **changed: Any) -> ImageModel:
    """A small model of this variant, the same weights every time."""
    torch.manual_seed(0)
    return create_model(name, **{**SMALL[name], **changed})


def awake(model: ImageModel) -> ImageModel:
    """The same model with weights that are not near zero where they would hide from the logits what lies below."""
    torch.manual_seed(1)
    if isinstance(model.head, nn.Linear):
        nn.init.normal_(model.head.weight)
    for memory in (m for m in model.modules() if isinstance(m, Memory)):
        nn.init.normal_(memory.keys.weight)  # small ones hardly tell images apart
    return model


def trained(model: ImageModel) -> ImageModel:
    """With vectors and statistics that are not what a model starts with: shifts that are zero hide mistakes."""
    awake(model).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.ndim == 1):
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean += 0.3 * torch.randn(norm.running_mean.shape, generator=generator)
            norm.running_var *= 0.5 + torch.rand(norm.running_var.shape, generator=generator)
    return model


def images(model: ImageModel, count: int = 3, *, seed: int = 2) -> Tensor:  # → b c h w
    """Noise that fits the model."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, model.in_chans, *model.img_size, generator=generator)
