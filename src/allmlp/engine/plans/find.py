"""Which plan a model gets."""

from allmlp.engine.plans.gmlp import GMLPPlan
from allmlp.engine.plans.layout import Plan, Setup
from allmlp.engine.plans.mixer import MixerPlan
from allmlp.engine.plans.modules import ModulePlan
from allmlp.engine.plans.resmlp import ResMLPPlan
from allmlp.engine.plans.smlpnet import SMLPNetPlan
from allmlp.models.base import ImageModel
from allmlp.models.gmlp import GMLP
from allmlp.models.mixer import Mixer
from allmlp.models.resmlp import ResMLP
from allmlp.models.smlpnet import SMLPNet
from allmlp.surgery.fold import fold


def make_plan(model: ImageModel, setup: Setup) -> Plan:
    """The plan of the model's family, or the one that suits all; ablations of a family, and low rank, get the latter."""
    folded = fold(model).float()
    if folded.hyperparameters.get("token_rank"):
        return ModulePlan(folded, setup)
    if is_resmlp(folded):
        return ResMLPPlan(folded, setup)
    if is_mixer(folded):
        return MixerPlan(folded, setup)
    if isinstance(folded, SMLPNet) and folded.hyperparameters.get("fusion", "linear") == "linear":
        return SMLPNetPlan(folded, setup)
    if isinstance(folded, GMLP):
        return GMLPPlan(folded, setup)
    return ModulePlan(folded, setup)


def is_resmlp(folded: ImageModel) -> bool:
    """Whether it is ResMLP with whole matrices, and no ablation of it."""
    values = folded.hyperparameters
    usual = values.get("norm", "affine") == "affine" and not values.get("token_rank")
    return isinstance(folded, ResMLP) and folded.token_mixing == "linear" and usual


def is_mixer(folded: ImageModel) -> bool:
    """Whether it is MLP-Mixer with whole matrices."""
    return isinstance(folded, Mixer) and not folded.hyperparameters.get("token_rank")
