"""Losses against sums written out by hand, and against other people's code."""

import math

import numpy as np
import pytest
import torch
from timm.loss import BinaryCrossEntropy
from torch.nn import functional as F

from allmlp.data.mix import smoothed
from allmlp.recipe import Train
from allmlp.training import objectives
from allmlp.training.objectives import (
    binary_cross_entropy,
    cross_entropy,
    distilled,
    hard_distillation,
    objective,
    present,
    soft_distillation,
    summed_binary_cross_entropy,
)

LOGITS = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]])
TARGET = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
TEACHER = torch.tensor([[2.0, -1.0, 0.0], [0.5, 4.0, 0.0]])


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(v) for v in row)
    return [math.exp(v) / total for v in row]


def test_cross_entropy_with_probabilities_equals_a_hand_computed_sum() -> None:
    expected = 0.0
    for row, wanted in zip(LOGITS.tolist(), TARGET.tolist(), strict=True):
        expected -= sum(w * math.log(p) for p, w in zip(softmax(row), wanted, strict=True)) / 2
    assert float(cross_entropy(LOGITS, TARGET)) == pytest.approx(expected, rel=1e-6)


def test_binary_cross_entropy_equals_a_hand_computed_sum() -> None:
    expected = 0.0
    for logit, wanted in zip(LOGITS.flatten().tolist(), TARGET.flatten().tolist(), strict=True):
        yes = 1 / (1 + math.exp(-logit))
        expected -= (wanted * math.log(yes) + (1 - wanted) * math.log(1 - yes)) / 6
    assert float(binary_cross_entropy(LOGITS, TARGET)) == pytest.approx(expected, rel=1e-6)
    assert float(summed_binary_cross_entropy(LOGITS, TARGET)) == pytest.approx(3 * expected, rel=1e-6)


@pytest.mark.parametrize("threshold", [None, 0.2])
def test_binary_cross_entropy_of_smoothed_labels_is_timms(threshold: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(16, 5, generator=generator), torch.randint(5, (16,), generator=generator)
    ours = objective(Train(objective="bce", threshold=threshold))
    theirs = BinaryCrossEntropy(smoothing=0.1, target_threshold=threshold)
    assert float(ours(logits, smoothed(labels, 5, 0.1))) == pytest.approx(float(theirs(logits, labels)), rel=1e-6)
    summed = BinaryCrossEntropy(smoothing=0.1, target_threshold=threshold, sum_classes=True)
    ours = objective(Train(objective="bce_sum", threshold=threshold))
    assert float(ours(logits, smoothed(labels, 5, 0.1))) == pytest.approx(float(summed(logits, labels)), rel=1e-6)


def test_both_sides_of_a_mixed_image_are_present_above_the_threshold() -> None:
    assert present(TARGET, 0.2).tolist() == [[1, 0, 0], [0, 1, 1]]
    assert present(TARGET, 0.1).tolist() == [[1, 1, 0], [0, 1, 1]]


def test_hard_distillation_is_the_mean_of_two_cross_entropies() -> None:
    """ResMLP's and DeiT's rule with one head: half with the label, half with the teacher's decision."""
    labels, decisions = torch.tensor([1, 2]), torch.tensor([0, 1])
    expected = 0.5 * F.cross_entropy(LOGITS, labels) + 0.5 * F.cross_entropy(LOGITS, decisions)
    ours = distilled(
        cross_entropy(LOGITS, F.one_hot(labels, 3).float()), hard_distillation(LOGITS, TEACHER, cross_entropy), 0.5
    )
    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_distillation_equals_a_hand_computed_divergence(temperature: float) -> None:
    expected = 0.0
    for ours, theirs in zip(LOGITS.tolist(), TEACHER.tolist(), strict=True):
        p, q = softmax([v / temperature for v in theirs]), softmax([v / temperature for v in ours])
        expected += temperature**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 2
    assert float(soft_distillation(LOGITS, TEACHER, temperature)) == pytest.approx(expected, rel=1e-5)


def test_soft_distillation_costs_nothing_where_the_student_is_the_teacher() -> None:
    assert float(soft_distillation(TEACHER + 5, TEACHER, 2.0)) == pytest.approx(0, abs=1e-6)


def test_gradients_of_soft_distillation_keep_their_size_at_high_temperature() -> None:
    """Hinton et al. (2015), section 2.1: at high temperature they are those of half the squared error of centred logits / k."""
    student = LOGITS.clone().requires_grad_()
    soft_distillation(student, TEACHER, 1000.0).backward()
    centred = [t - t.mean(1, keepdim=True) for t in (LOGITS, TEACHER)]
    torch.testing.assert_close(student.grad, (centred[0] - centred[1]) / 3 / 2, rtol=5e-3, atol=1e-4)


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
def test_every_objective_computes_in_float32(name: str) -> None:
    loss = objective(Train(objective=name))  # type: ignore[arg-type]
    half = loss(LOGITS.bfloat16(), TARGET)
    assert half.dtype == torch.float32
    assert float(half) == pytest.approx(float(loss(LOGITS, TARGET)), rel=1e-6)  # these logits are exact in bfloat16


def test_chance_is_the_logarithm_of_the_number_of_classes() -> None:
    zeros = torch.zeros(4, 10)
    target = smoothed(torch.tensor([0, 3, 5, 9]), 10, 0.1)
    assert float(cross_entropy(zeros, target)) == pytest.approx(np.log(10))
    assert float(summed_binary_cross_entropy(zeros, target)) == pytest.approx(10 * np.log(2))
