"""What all GPU plans share: b × n × c, contiguous, from the first product to the pooled features."""

# axes: b images, n tokens, y x rows and columns of the grid, c channels, h w pixels, p pixels of a patch's side, k classes

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.engine.gpu.plain import wide
from allmlp.engine.plans.layout import Folded, cells

WORD = 16
"""Numbers that a row is filled up to a multiple of: GPUs read 16 or 32 bytes at once from where such a word begins."""


class GpuPlan(ABC):
    """Runs a folded model on whole batches. It keeps nothing from one call to the next that a call could change."""

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        self.folded, self.dtype = folded, dtype

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        """Logits in float32; features where the model has no classes."""


class ModulesOnGpu(GpuPlan):
    """For every family without a plan of its own: the folded model as it is, in the memory order it is fastest with."""

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        self.order = torch.channels_last if folded.CHANNELS_LAST else torch.contiguous_format
        super().__init__(folded.to(dtype=dtype).to(memory_format=self.order), dtype)

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        return self.folded(images.to(self.dtype, memory_format=self.order)).to(wide(self.dtype))


class Stem:
    """Patches as rows, mapped to channels by one product."""

    def __init__(self, patches: Folded, dtype: torch.dtype) -> None:
        self.patch, self.margin, self.dtype = patches.patch_size, patches.margin, dtype
        self.weight, self.bias = patches.proj.weight.flatten(1).to(dtype), patches.proj.bias.to(dtype)

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b n c
        return F.linear(cut(images, self.patch, self.dtype, self.margin), self.weight, self.bias)


def cut(images: Tensor, patch: int, dtype: torch.dtype, margin: tuple[int, int] = (0, 0)) -> Tensor:  # b c h w → b n (c p p)
    """Patches as rows, in one pass over the pixels, which are rounded on the way; what no patch covers is left out.

    margin: pixels beyond a patch's edges that it sees too, as in `Patches`.
    """
    found = cells(images, patch, margin).permute(0, 2, 3, 1, 4, 5)  # b y x c p p
    return torch.empty(found.shape, dtype=dtype, device=images.device).copy_(found).flatten(3).flatten(1, 2)


def aligned(matrix: Tensor, dtype: torch.dtype) -> Tensor:  # m n, values kept
    """With zeros between its rows, so that each begins where a word of memory does."""
    n = matrix.shape[1]
    return F.pad(matrix.detach().to(dtype), (0, -n % WORD))[:, :n]
