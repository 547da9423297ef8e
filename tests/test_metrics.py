"""Metrics, worked out by hand and by plain NumPy."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allmlp.metrics import calibration_error, confusion, cross_entropy, per_class, reliability, summary, top_k

LOGITS = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.5, 2.0], [5.0, 4.0, 0.0]])
LABELS = torch.tensor([0, 2, 2, 1])

batches = st.tuples(st.integers(1, 40), st.integers(2, 7), st.integers(0, 10**6))


def batch(shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    count, classes, seed = shape
    generator = np.random.default_rng(seed)
    logits = torch.from_numpy(generator.normal(size=(count, classes)).astype(np.float32) * 3)
    return logits, torch.from_numpy(generator.integers(0, classes, count))


def test_top_k_by_hand() -> None:
    assert [top_k(LOGITS, LABELS, k) for k in (1, 2, 3, 5)] == [0.5, 1.0, 1.0, 1.0]
    assert top_k(LOGITS[:2], torch.tensor([2, 0]), 2) == 0.0


@given(batches, st.integers(1, 8))
def test_top_k_counts_labels_that_fewer_than_k_classes_beat(shape: tuple[int, int, int], k: int) -> None:
    logits, labels = batch(shape)
    own = logits.numpy()[np.arange(len(labels)), labels.numpy()]
    beaten_by = (logits.numpy() > own[:, None]).sum(1)
    assert top_k(logits, labels, k) == pytest.approx(float((beaten_by < k).mean()))


def test_cross_entropy_by_hand() -> None:
    assert cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 2])) == pytest.approx(math.log(4))
    assert cross_entropy(torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])) == pytest.approx(-math.log(0.75))


@given(batches)
def test_cross_entropy_is_the_mean_negative_log_likelihood(shape: tuple[int, int, int]) -> None:
    logits, labels = batch(shape)
    x = logits.numpy().astype(np.float64)
    likelihood = np.exp(x)[np.arange(len(x)), labels.numpy()] / np.exp(x).sum(1)
    assert cross_entropy(logits, labels) == pytest.approx(float(-np.log(likelihood).mean()))


def test_confusion_by_hand() -> None:
    assert confusion(LOGITS, LABELS).tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 1]]


@given(batches)
def test_confusion_counts_every_pair(shape: tuple[int, int, int]) -> None:
    logits, labels = batch(shape)
    expected = np.zeros((shape[1], shape[1]), int)
    for row, column in zip(labels.tolist(), logits.numpy().argmax(1).tolist(), strict=True):
        expected[row, column] += 1
    assert confusion(logits, labels).tolist() == expected.tolist()


def sure(probability: float) -> list[float]:
    """Two logits whose first class has this probability."""
    return [math.log(probability / (1 - probability)), 0.0]


def test_calibration_by_hand() -> None:
    logits = torch.tensor([sure(0.9), sure(0.9), sure(0.9), sure(0.9), sure(0.61), sure(0.61)])
    labels = torch.tensor([0, 0, 0, 1, 0, 1])
    rows = reliability(logits, labels, bins=10)
    assert [(row["low"], row["high"], row["images"], row["accuracy"]) for row in rows] == [
        (0.6, 0.7, 2, 0.5),
        (0.9, 1.0, 4, 0.75),
    ] or rows[1]["low"] == 0.8  # 0.9 may fall to either side in floating point
    assert [row["confidence"] for row in rows] == pytest.approx([0.61, 0.9])
    assert calibration_error(rows) == pytest.approx((2 * 0.11 + 4 * 0.15) / 6)


def test_certainty_falls_into_the_last_bin() -> None:
    (row,) = reliability(torch.tensor([[500.0, 0.0]]), torch.tensor([0]))
    assert (row["low"], row["high"], row["confidence"], row["accuracy"]) == (14 / 15, 1.0, 1.0, 1.0)
    assert calibration_error([row]) == 0


def test_calibration_of_nothing_is_zero() -> None:
    assert calibration_error([]) == 0


@given(batches)
def test_calibration_is_the_gap_averaged_over_images(shape: tuple[int, int, int]) -> None:
    logits, labels = batch(shape)
    x = logits.numpy().astype(np.float64)
    probabilities = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels.numpy()
    which = np.minimum((confidence * 15).astype(int), 14)
    expected = sum(abs(confidence[which == b].sum() - right[which == b].sum()) for b in range(15)) / len(x)
    rows = reliability(logits, labels)
    assert calibration_error(rows) == pytest.approx(expected, abs=1e-9)
    assert sum(row["images"] for row in rows) == len(x)
    assert all(row["low"] - 1e-9 <= row["confidence"] <= row["high"] + 1e-9 for row in rows)


def test_classes_have_recall_and_precision_or_none() -> None:
    confused = torch.tensor([[3, 1, 0], [1, 0, 0], [0, 0, 0]])
    assert per_class(confused, ("cat", "dog", "owl")) == [
        {"class": "cat", "images": 4, "accuracy": 0.75, "precision": 0.75},
        {"class": "dog", "images": 1, "accuracy": 0.0, "precision": 0.0},
        {"class": "owl", "images": 0, "accuracy": None, "precision": None},
    ]


def test_a_summary_agrees_with_its_parts() -> None:
    result = summary(LOGITS, LABELS, ("a", "b", "c"))
    assert (result["images"], result["top1"], result["top5"]) == (4, 0.5, 1.0)
    assert result["confusion"] == confusion(LOGITS, LABELS).tolist()
    assert result["loss"] == cross_entropy(LOGITS, LABELS)
    assert result["calibration_error"] == calibration_error(result["calibration"])
    assert [row["class"] for row in result["per_class"]] == ["a", "b", "c"]
