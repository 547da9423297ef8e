"""Which plan a model gets on a GPU."""

import torch

from allmlp.engine.gpu.kit import Kit, kit_for
from allmlp.engine.gpu.layout import GpuPlan, ModulesOnGpu
from allmlp.engine.gpu.mixer import MixerOnGpu
from allmlp.engine.gpu.resmlp import ResMLPOnGpu
from allmlp.engine.plans.find import is_mixer, is_resmlp
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold


def make_gpu_plan(model: ImageModel, device: torch.device, dtype: torch.dtype, kit: Kit | None = None) -> GpuPlan:
    """The plan of the model's family, or the one that suits all, on a device: any, so that it can be tested on a CPU.

    kit: what its operations are computed with; None for the fastest there is.
    """
    folded = fold(model).to(device)
    kit = kit_for(device) if kit is None else kit
    if is_resmlp(folded):
        return ResMLPOnGpu(folded, dtype, kit)
    if is_mixer(folded):
        return MixerOnGpu(folded, dtype, kit)
    return ModulesOnGpu(folded, dtype)
