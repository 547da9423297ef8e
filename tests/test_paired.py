"""Comparisons on the same images, worked out by hand."""

import numpy as np
import pytest
import torch

from allmlp import metrics
from allmlp.paired import Estimate, estimates, exact_p, holm, image_scores, mcnemar, measures


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


def test_a_sample_without_a_mistake_does_not_say_that_there_are_none() -> None:
    logits, labels = torch.zeros(20, 4), torch.zeros(20, dtype=torch.long)  # right with a confidence of ¼
    own, apart = estimates(image_scores(logits, labels)[None])
    top1, _, loss, error = own[0]
    assert (loss.value, loss.low) == pytest.approx((np.log(4),) * 2)
    assert loss.high == pytest.approx(np.log(4) - np.log(0.75) * (1 - top1.low))  # as many wrong as may be, at -ln(1 - ¼)
    assert (top1.value, top1.high) == (1.0, 1.0)
    assert top1.low == pytest.approx(20 / (20 + 1.96**2), abs=1e-4)  # Wilson's where all are right
    assert 0.55 < error.low < error.value < 0.76  # ¾, if all other images are right too
    assert apart[0] == [Estimate(0.0, 0.0, 0.0)] * 4


def test_identical_models_do_not_differ_at_all() -> None:
    scores = image_scores(*outputs())
    own, apart = estimates(np.stack([scores, scores]))
    assert own[0] == own[1]
    assert apart[1] == [Estimate(0.0, 0.0, 0.0)] * 4


def test_models_that_are_right_on_the_same_images_may_differ_on_others() -> None:
    """Tango's interval of no disagreement in n images: ± z² / (n + z²)."""
    logits, labels = outputs()
    apart = estimates(np.stack([image_scores(logits, labels), image_scores(2 * logits, labels)]))[1][1]
    half = 1.96**2 / (400 + 1.96**2)
    assert (apart[0].value, apart[0].low, apart[0].high) == pytest.approx((0, -half, half), abs=1e-5)


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    """Where models err on nearly the same images, b = 0 and c = 10 of 1000: variance of the mean of a 0/1 of 1 %."""
    scores = np.zeros((2, 1000, 18))
    scores[0, :500, 0], scores[1, :510, 0] = 1, 1
    own, apart = estimates(scores)
    half = 1.96 * (0.01 * 0.99 / 1000) ** 0.5
    assert own[0][0].high > own[1][0].low
    assert (apart[1][0].low, apart[1][0].high) == pytest.approx((0.01 - half, 0.01 + half), abs=0.003)


def test_a_difference_excludes_zero_where_mcnemars_test_does() -> None:
    for b, c in [(0, 10), (3, 15), (40, 70)]:
        scores = np.zeros((2, 500, 18))
        scores[0, :b, 0], scores[1, b : b + c, 0] = 1, 1
        gap = estimates(scores)[1][1][0]
        assert exact_p(b, c) < 0.05
        assert gap.low > 0
        assert gap.value == pytest.approx((c - b) / 500)


def test_intervals_follow_from_the_seed_and_not_from_the_other_models() -> None:
    logits, labels = outputs()
    scores = np.stack([image_scores(factor * logits, labels) for factor in (1, 2, 3)])
    own = estimates(scores, seed=1)[0]
    assert own == estimates(scores, seed=1)[0]
    assert own != estimates(scores, seed=2)[0]
    assert own[1] == estimates(scores[1:2], seed=1)[0][0]


@pytest.mark.parametrize("images", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("factor", [0.1, 1.0, 5.0, 50.0])
def test_every_estimate_lies_in_its_own_interval(images: int, factor: float) -> None:
    for seed in range(5):
        logits, labels = outputs(images, seed=seed)
        other, _ = outputs(images, seed=seed + 100)
        found = estimates(np.stack([image_scores(factor * logits, labels), image_scores(other, labels)]))
        assert (found[1][1][3].low, found[1][1][3].high) == (None, None), "no interval of this holds as often as it says"
        for one in (one for rows in found for row in rows for one in row if one.low is not None):
            assert one.low <= one.value <= one.high
            assert all(np.isfinite([one.low, one.value, one.high]))
        for top1, top5, loss, error in found[0]:
            assert min(top1.low, top5.low, loss.low, error.low) >= 0
            assert max(top1.high, top5.high, error.high) <= 1
