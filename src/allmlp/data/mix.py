"""Mixup and CutMix on whole batches: timm's, with the cases around it."""

# axes: b batch, k classes

import torch
from timm.data import Mixup
from torch import Tensor
from torch.nn import functional as F

from allmlp.recipe import Augment


class Mix:
    """Batch of images and labels → images and target probabilities, mixed or not."""

    def __init__(self, augment: Augment, *, classes: int, smoothing: float) -> None:
        self.classes, self.smoothing = classes, smoothing
        self.mixup = (
            Mixup(
                mixup_alpha=augment.mixup,
                cutmix_alpha=augment.cutmix,
                prob=augment.mix_prob,
                label_smoothing=smoothing,
                num_classes=classes,
            )
            if augment.mixup or augment.cutmix
            else None
        )

    def __call__(self, images: Tensor, labels: Tensor, *, mixing: bool) -> tuple[Tensor, Tensor]:  # b c h w, b → b c h w, b k
        if self.mixup is not None and mixing and len(images) % 2 == 0:  # timm pairs image i with image -i
            mixed: tuple[Tensor, Tensor] = self.mixup(images.clone(), labels)  # it mixes in place
            return mixed
        return images, smoothed(labels, self.classes, self.smoothing)


def smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:  # b → b k
    """One-hot targets of which `smoothing` is spread evenly over all classes (Szegedy et al., 2016)."""
    return torch.lerp(F.one_hot(labels, classes).float(), torch.tensor(1.0 / classes, device=labels.device), smoothing)
