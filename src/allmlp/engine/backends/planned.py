"""torch alone, with the operations laid out anew: `allmlp.engine.plans`."""

from pathlib import Path

import torch

from allmlp.engine.backends.base import CPU, DTYPES, Backend, Runner, Wanted
from allmlp.engine.plans.find import make_plan
from allmlp.engine.plans.layout import Setup
from allmlp.engine.plans.products import broken
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.pages import own_pages


class Planned(Backend):
    """The folded model as products by oneDNN, which torch brings along."""

    name = "torch"

    def refusal(self, precision: str, device: torch.device = CPU) -> EngineError | None:
        why = super().refusal(precision, device)
        if why is None and (trouble := broken(DTYPES[precision])):
            why = EngineError(f"engine torch cannot be used: {trouble}", hint='use engine "eager"')
        return why

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        with own_pages():
            return make_plan(model, Setup(DTYPES[wanted.precision], wanted.batch))
