"""Channel MLPs with fewer hidden units: those go whose weights are smallest, in and out."""

# axes: c channels, u hidden units

import torch
from torch import Tensor

from allmlp.errors import ModelError
from allmlp.models.base import ImageModel
from allmlp.models.mixer import Mixer
from allmlp.models.resmlp import ResMLP
from allmlp.models.smlpnet import SMLPNet
from allmlp.nn.mlp import Mlp
from allmlp.surgery.factor import rebuilt


def channel_mlps(model: ImageModel) -> dict[str, Mlp]:
    """Name → channel MLP, of ResMLP, Mixer and sMLPNet. Raises ModelError for other families."""
    if not isinstance(model, ResMLP | Mixer | SMLPNet):
        raise ModelError(
            f"narrower channel MLPs are not offered for {model.family}", hint="they are for resmlp, mixer and smlpnet"
        )
    return {name: module for name, module in model.named_modules() if name.endswith("channel_mlp") and isinstance(module, Mlp)}


def narrowed(model: ImageModel, sparsity: float) -> ImageModel:
    """A copy without the share `sparsity`, in [0, 1), of each channel MLP's hidden units, rounded to leave one at least.

    Raises ModelError for a family whose width follows from other things.
    """
    mlps = channel_mlps(model)
    share = 1 - sparsity
    if isinstance(model, Mixer):
        hidden = next(iter(mlps.values())).fc1.out_features
        changed: dict[str, object] = {"channel_hidden": max(round(share * hidden), 1)}
    else:
        default = 4 if isinstance(model, ResMLP) else 3
        changed = {"expansion": share * model.hyperparameters.get("expansion", default)}
    with torch.device("meta"):
        widths = {n: m.fc1.out_features for n, m in channel_mlps(type(model)(**{**model.hyperparameters, **changed})).items()}
    tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    for name, mlp in mlps.items():
        units = strongest(mlp, widths[name])
        tensors[f"{name}.fc1.weight"] = mlp.fc1.weight.detach()[units].clone()
        tensors[f"{name}.fc1.bias"] = mlp.fc1.bias.detach()[units].clone()
        tensors[f"{name}.fc2.weight"] = mlp.fc2.weight.detach()[:, units].clone()
    return rebuilt(model, changed, tensors)


def strongest(mlp: Mlp, count: int) -> Tensor:  # → u
    """The hidden units with the largest product of the norms of what enters and of what leaves, in their order."""
    strength = mlp.fc1.weight.detach().norm(dim=1) * mlp.fc2.weight.detach().norm(dim=0)
    return strength.topk(count).indices.sort().values
