"""The model as it is: what every other backend is compared with."""

import copy
from pathlib import Path

from torch import Tensor

from allmlp.engine.backends.base import Backend, Runner, Wanted
from allmlp.engine.device import autocast, exact_products, placed, prepared
from allmlp.models.base import ImageModel


class Eager(Backend):
    """torch, operation by operation; bf16 by autocast."""

    name = "eager"
    devices = ("cpu", "cuda")

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        device = wanted.device
        ready = prepared(copy.deepcopy(model).eval(), device)

        def run(images: Tensor) -> Tensor:  # b c h w → b k
            with exact_products(device), autocast(device, wanted.precision):
                return ready(placed(images, ready, device)).float()

        return run
