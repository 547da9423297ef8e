"""Pure losses. Each computes in float32 whatever the logits are, and returns the mean over the batch."""

# axes: b batch, k classes

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.recipe import Train

Objective = Callable[[Tensor, Tensor], Tensor]
"""b k logits, b k target probabilities → scalar."""


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:  # b k, b k → scalar, nats
    """Cross-entropy with target probabilities."""
    return F.cross_entropy(logits.float(), target)


def binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:  # b k, b k → scalar, nats
    """Each class a yes or no of its own, averaged over the classes (ResNet strikes back, Wightman et al., 2021)."""
    return F.binary_cross_entropy_with_logits(logits.float(), target)


def summed_binary_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:  # b k, b k → scalar, nats
    """The same, summed over the classes (Beyer et al., 2020): at initialisation k times as large."""
    return binary_cross_entropy(logits, target) * logits.shape[1]


OBJECTIVES: dict[str, Objective] = {
    "ce": cross_entropy,
    "bce": binary_cross_entropy,
    "bce_sum": summed_binary_cross_entropy,
}


def present(target: Tensor, least: float) -> Tensor:  # b k → b k of 0 and 1
    """Every class with more than `least` of the target counts as wholly there: both sides of a mixed image, say."""
    return (target > least).to(target.dtype)


def objective(train: Train) -> Objective:
    """The recipe's, for labels."""
    loss, least = OBJECTIVES[train.objective], train.threshold
    return loss if least is None else lambda logits, target: loss(logits, present(target, least))


def hard_distillation(student: Tensor, teacher: Tensor, objective: Objective) -> Tensor:  # b k, b k → scalar
    """The objective with the teacher's decision as the label (Touvron et al., 2021, equation 3)."""
    return objective(student, F.one_hot(teacher.argmax(1), teacher.shape[1]).float())


def soft_distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:  # b k, b k → scalar, nats
    """T² · KL(teacher ‖ student) at temperature T (Hinton et al., 2015): T² keeps the gradients' size."""
    theirs, ours = (F.log_softmax(logits.float() / temperature, 1) for logits in (teacher, student))
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2


def distilled(labels: Tensor, teacher: Tensor, share: float) -> Tensor:  # scalar, scalar → scalar
    """Both losses, of which the teacher's has `share`."""
    return torch.lerp(labels, teacher, share)
