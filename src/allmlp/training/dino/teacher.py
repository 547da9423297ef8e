"""The teacher: the running mean of the student's weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from allmlp.models.base import ImageModel
from allmlp.training.optim import cosine


class MeanTeacher(ModelEmaV3):
    """Keeps more and more of itself. Batch norms have statistics of their own, of the large parts that it sees."""

    def __init__(self, model: ImageModel, momentum: tuple[float, float], total: int, **options: Any) -> None:
        """total: steps of the run."""
        super().__init__(model, **options)
        self.momentum, self.total = momentum, total

    def get_decay(self, step: int | None = None) -> float:
        return cosine(*self.momentum, (step or 0) / self.total)

    @torch.no_grad()
    def update(self, model: nn.Module, step: int | None = None) -> None:
        mine: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(model.parameters())
        if self.foreach:
            torch._foreach_lerp_(mine, theirs, weight=1 - self.get_decay(step))
        else:
            for old, new in zip(mine, theirs, strict=True):
                old.lerp_(new, weight=1 - self.get_decay(step))


def teaching(model: nn.Module) -> nn.Module:
    """As it teaches: nothing random, and batch norms by the batch, as the student's."""
    model.eval()
    for part in model.modules():
        if isinstance(part, _BatchNorm):
            part.train()
    return model


@contextmanager
def headless(model: ImageModel) -> Iterator[ImageModel]:
    """The features of a model in the place of what its head makes of them."""
    head = model.head
    model.head = nn.Identity()
    try:
        yield model
    finally:
        model.head = head
