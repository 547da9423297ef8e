"""The layout all plans share: tokens × (images · channels), so that mixing tokens is one product without a copy.

A row is one token of one image; the rows of all images at one token lie together. Few images go through at a time
(a chunk), so that what passes between two products is still in the processor's cache.
"""

# axes: b images, n tokens, y x rows and columns of the grid, c channels, h w pixels, p pixels of a patch's side, k classes

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.engine.plans.products import Product

Folded = Any
"""A part of a folded model: folding puts other modules in the places that its class declares."""

CHUNK_BYTES = 16
"""Images at a time, times the bytes of a number: 4 in float32, 8 in bf16. Twice or half as many is no slower, measured."""


@dataclass(frozen=True)
class Setup:
    """What a plan is made for: the numbers' type, and the most images it gets at once."""

    dtype: torch.dtype
    batch: int

    @property
    def chunk(self) -> int:
        return min(self.batch, CHUNK_BYTES // self.dtype.itemsize)


class Plan(ABC):
    """Runs a folded model, a chunk of images at a time. It keeps nothing from one call to the next that a call could change."""

    def __init__(self, setup: Setup) -> None:
        self.dtype, self.chunk = setup.dtype, setup.chunk

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:  # b c h w → b k
        """Of one chunk, in float32; features where the model has no classes."""

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        chunks = images.tensor_split(-(-len(images) // self.chunk))
        return torch.cat([self.logits(chunk) for chunk in chunks])


class TokensMajor(Plan):
    """Blocks laid out anew, then the end of the model itself, which is stripped of what it no longer needs."""

    folded: Folded

    @abstractmethod
    def tokens(self, images: Tensor) -> Tensor:  # b c h w → what the model's `end` expects
        """Everything up to the last block."""

    def logits(self, images: Tensor) -> Tensor:  # b c h w → b k
        return self.folded.forward_head(self.folded.end(self.tokens(images).float()))


def cut(
    images: Tensor, patch: int, dtype: torch.dtype, margin: tuple[int, int] = (0, 0)
) -> Tensor:  # b c h w → (y x b) (c p p)
    """Patches as rows, the pixels of each in the order of a convolution's weight; what no patch covers is left out.

    margin: pixels beyond a patch's edges that it sees too, as in `Patches`.
    """
    found = cells(images.to(dtype), patch, margin).permute(2, 3, 0, 1, 4, 5)  # y x b c p p
    return found.flatten(3).flatten(0, 2)


def cells(images: Tensor, patch: int, margin: tuple[int, int]) -> Tensor:  # b c h w → b c y x p p
    """What each patch sees, without copying where there is no margin."""
    if any(margin):
        images = F.pad(images, (margin[1], margin[1], margin[0], margin[0]), mode="replicate")
    high, wide = (patch + 2 * m for m in margin)
    return images.unfold(2, high, patch).unfold(3, wide, patch)


class Stem:
    """The rows of `cut`, mapped to channels."""

    def __init__(self, patches: Folded, *, rows: int, dtype: torch.dtype) -> None:
        self.patch, self.margin, self.dtype = patches.patch_size, patches.margin, dtype
        self.product = Product(patches.proj.weight.flatten(1), patches.proj.bias, rows=rows, dtype=dtype)

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → (n b) c
        return self.product(cut(images, self.patch, self.dtype, self.margin))


def images_first(x: Tensor, tokens: int) -> Tensor:  # (n b) c → b n c
    return x.unflatten(0, (tokens, -1)).transpose(0, 1)


class ChannelMlp:
    """x + fc2(GELU(fc1(norm(x)))), the norm without scale and shift, or none."""

    def __init__(self, mlp: Folded, norm: nn.Module, *, rows: int, dtype: torch.dtype) -> None:
        self.eps = norm.eps if isinstance(norm, nn.LayerNorm) else None
        self.approximate = mlp.act.approximate
        self.enter = Product(mlp.fc1.weight, mlp.fc1.bias, rows=rows, dtype=dtype)
        self.leave = Product(mlp.fc2.weight, mlp.fc2.bias, rows=rows, dtype=dtype)

    def __call__(self, x: Tensor) -> Tensor:  # r c → r c
        normed = x if self.eps is None else F.layer_norm(x, x.shape[1:], eps=self.eps)
        return self.leave.add(self.enter.gelu(normed, self.approximate), x)
