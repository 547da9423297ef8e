"""DINO's loss, and how its temperature goes."""

# axes: b batch, v parts of an image, t parts that the teacher sees, k outputs

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.recipe import Dino


def teacher_temperature(dino: Dino, epoch: float) -> float:
    """After so many epochs, parts of them included."""
    first, last = dino.teacher_temperature
    return last if epoch >= dino.teacher_warmup else first + (last - first) * epoch / dino.teacher_warmup


def self_distillation(student: Tensor, answers: Tensor, temperature: float) -> Tensor:  # v b k logits, t b k → scalar, nats
    """Cross-entropy of the teacher's answers to each part with the student's to every other part, averaged.

    The student's first t parts are those that the teacher saw.
    """
    logs = F.log_softmax(student.float() / temperature, -1)
    others = logs.sum(0) - logs[: len(answers)]  # t b k
    pairs = len(answers) * (len(student) - 1)
    return -(answers * others).sum() / (pairs * student.shape[1])


def centred(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:  # … k, k → … k probabilities
    """The teacher's answers, sharpened, from which what it says of every image is taken away."""
    return torch.softmax((logits.float() - centre) / temperature, -1)
