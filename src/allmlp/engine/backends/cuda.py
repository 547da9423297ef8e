"""On a GPU: the folded model laid out anew by `allmlp.engine.gpu`, recorded as CUDA graphs."""

# axes: b images, c channels, h w pixels, k classes

from pathlib import Path

import torch
from torch import Tensor

from allmlp.engine.backends.base import DTYPES, Backend, Runner, Wanted, in_batches
from allmlp.engine.device import exact_products
from allmlp.engine.gpu.find import make_gpu_plan
from allmlp.engine.gpu.graphs import Graphed
from allmlp.models.base import ImageModel


class CUDA(Backend):
    """Made for one number of images, and for one image alone. Without Triton the same plans run on torch's operations."""

    name = "cuda"
    devices = ("cuda",)

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        with exact_products(wanted.device), torch.cuda.device(wanted.device):
            plan = make_gpu_plan(model, wanted.device, DTYPES[wanted.precision])
            return graphed(plan, model, wanted)


def graphed(run: Runner, model: ImageModel, wanted: Wanted, *, alone: bool = True) -> Runner:
    """Recorded for the wanted number of images, which is filled up with black, and for one alone, unless that is not wanted."""
    many = in_batches(Graphed(run, noise(model, wanted.batch, wanted.device)), wanted.batch)
    if wanted.batch == 1 or not alone:
        return many
    one = Graphed(run, noise(model, 1, wanted.device))

    def runner(images: Tensor) -> Tensor:  # b c h w → b k
        return one(images) if len(images) == 1 else many(images)

    return runner


def noise(model: ImageModel, batch: int, device: torch.device) -> Tensor:  # → b c h w
    """Images that are not alike, the same every time: kernels are compared on what becomes of them."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, model.in_chans, *model.img_size, generator=generator).to(device)
