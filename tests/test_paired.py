"""Comparisons on the same images, worked out by hand."""

import numpy as np
import pytest
import torch

from allmlp import metrics
from allmlp.paired import Estimate, bootstrap, estimates, exact_p, holm, image_scores, mcnemar, measures


def outputs(images: int = 400, classes: int = 7, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    logits = torch.randn(images, classes, generator=generator) + 2 * torch.nn.functional.one_hot(labels, classes)
    return logits, labels


def test_mcnemars_p_by_hand() -> None:
    assert exact_p(1, 9) == 2 * (1 + 10) / 2**10 == 0.021484375
    assert exact_p(9, 1) == exact_p(1, 9)
    assert exact_p(0, 0) == exact_p(5, 5) == exact_p(3, 4) == 1.0
    assert exact_p(0, 5) == 2 / 32


def test_mcnemars_p_of_many_images_neither_overflows_nor_loses_digits() -> None:
    assert exact_p(5000, 5200) == pytest.approx(0.0488, abs=5e-4)  # normal with continuity: z = 199 / √10200
    assert 0 < exact_p(100, 900) < 1e-150
    assert exact_p(0, 100_000) == 0.0


def test_mcnemar_counts_what_only_one_gets_right() -> None:
    first, second = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 0, 1, 0], bool)
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second, found.p) == (2, 1, 1.0)
    assert mcnemar(first, first).p == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_image_scores_average_to_the_metrics() -> None:
    logits, labels = outputs()
    found = measures(image_scores(logits, labels).mean(0))
    expected = metrics.summary(logits, labels, tuple("abcdefg"))
    assert found == pytest.approx([expected[name] for name in ("top1", "top5", "loss", "calibration_error")])


def test_the_interval_of_a_constant_is_itself() -> None:
    logits, labels = torch.zeros(20, 4), torch.zeros(20, dtype=torch.long)  # right with a confidence of ¼
    own, apart = estimates(image_scores(logits, labels)[None])
    loss = np.log(4)
    for found, value in zip(own[0], (1.0, 1.0, loss, 0.75), strict=True):
        assert (found.value, found.low, found.high) == pytest.approx((value, value, value))
    assert apart[0] == [Estimate(0.0, 0.0, 0.0)] * 4


def test_identical_models_do_not_differ_at_all() -> None:
    scores = image_scores(*outputs())
    own, apart = estimates(np.stack([scores, scores]))
    assert own[0] == own[1]
    assert apart[1] == [Estimate(0.0, 0.0, 0.0)] * 4


def test_the_interval_of_a_share_is_nearly_the_binomials() -> None:
    scores = np.zeros((1, 1000, 18))
    scores[0, :700, 0] = 1
    top1 = estimates(scores)[0][0][0]
    half = 1.96 * (0.7 * 0.3 / 1000) ** 0.5
    assert (top1.low, top1.high) == pytest.approx((0.7 - half, 0.7 + half), abs=0.003)  # error of 2,000 resamples


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    """Where models err on nearly the same images, b = 10 and c = 0 of 1000: variance of the mean of a 0/1 of 1 %."""
    scores = np.zeros((2, 1000, 18))
    scores[0, :500, 0], scores[1, :510, 0] = 1, 1
    own, apart = estimates(scores)
    half = 1.96 * (0.01 * 0.99 / 1000) ** 0.5
    assert own[0][0].high > own[1][0].low
    assert (apart[1][0].low, apart[1][0].high) == pytest.approx((0.01 - half, 0.01 + half), abs=0.002)


def test_resamples_follow_from_the_seed_and_are_the_same_for_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).random((2, 50, 3))
    means = bootstrap(scores, resamples=30, seed=1)
    assert np.array_equal(means, bootstrap(scores, resamples=30, seed=1))
    assert not np.array_equal(means, bootstrap(scores, resamples=30, seed=2))
    assert np.allclose(means[:, 1], bootstrap(scores[1:], resamples=30, seed=1)[:, 0])
    monkeypatch.setattr("allmlp.paired.AT_ONCE", 150)  # three resamples at a time
    assert np.allclose(means, bootstrap(scores, resamples=30, seed=1))


def test_the_calibration_errors_interval_is_freed_of_what_resampling_adds() -> None:
    """Of a perfectly calibrated model: the error is there by chance alone, so zero is within its interval."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.stack([torch.rand(500, generator=generator) * 3, torch.zeros(500)], 1)
    labels = (torch.rand(500, generator=generator) > logits.softmax(1)[:, 0]).long()
    found = estimates(image_scores(logits, labels)[None])[0][0][3]
    assert found.value > 0.01
    assert found.low == 0.0 <= found.value
