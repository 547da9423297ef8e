"""Intervals hold the truth as often as they say: where it is known, counted over samples, or over all samples there can be."""

import math

import numpy as np
import pytest
import torch

from allmlp.calibration import calibrated
from allmlp.intervals import mean_interval, paired_interval, skewed_mean_interval, student, wilson_interval
from allmlp.paired import BINS, estimates, exact_p, image_scores


def binomial(images: int, share: float) -> list[float]:
    """Probability of each number of right ones."""
    return [math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(images + 1)]


def wilsons_coverage(images: int, share: float) -> float:
    """Over all samples there can be."""
    held = [low <= share <= high for low, high in (wilson_interval(k / images, images) for k in range(images + 1))]
    return sum(p for p, holds in zip(binomial(images, share), held, strict=True) if holds)


@pytest.mark.parametrize("images", [10, 20, 50, 100])
def test_wilsons_interval_holds_95_of_100_on_average_over_shares(images: int) -> None:
    shares = np.linspace(0.005, 0.995, 199)
    found = [wilsons_coverage(images, share) for share in shares]
    assert 0.94 < np.mean(found) < 0.96
    assert min(found) > 0.83  # one share just beside 0 falls between two samples (Brown, Cai and DasGupta, 2001)


def test_an_interval_of_a_share_that_is_all_or_none_has_a_width_and_holds_it() -> None:
    for images in (1, 5, 100, 10_000):
        low, high = wilson_interval(1.0, images)
        assert low < high == 1.0
        assert wilson_interval(0.0, images) == pytest.approx((0.0, 1 - low))


@pytest.mark.parametrize(("first", "second"), [(0.1, 0.1), (0.3, 0.2), (0.05, 0.02), (0.02, 0.02), (0.9, 0.05)])
def test_a_paired_difference_holds_95_of_100_over_all_samples(first: float, second: float) -> None:
    """Exactly: each number of images that one alone gets right, with its probability."""
    images, held = 60, 0.0
    both = 1 - first - second
    for b in range(images + 1):
        for c in range(images + 1 - b):
            p = math.comb(images, b) * math.comb(images - b, c) * first**b * second**c * both ** (images - b - c)
            if p > 1e-7:
                low, high = paired_interval(b, c, images)
                assert low <= (c - b) / images <= high
                held += p * (low <= second - first <= high)
    assert 0.93 < held < (0.985 if first + second < 0.1 else 0.97)  # three disagreements or fewer leave few samples


def test_a_paired_difference_turns_around_with_its_sides() -> None:
    for b, c in [(0, 0), (0, 5), (7, 3), (50, 0), (0, 50)]:
        low, high = paired_interval(b, c, 50)
        assert paired_interval(c, b, 50) == pytest.approx((-high, -low), abs=1e-9)
        assert -1 <= low <= high <= 1


def test_students_quantiles_are_those_of_the_tables() -> None:
    tables = {1: 12.706, 2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 100: 1.984, 10**6: 1.960}
    assert {v: student(v) for v in tables} == pytest.approx(tables, rel=2e-3)


def test_a_skewed_samples_interval_is_halls_by_hand() -> None:
    values = np.array([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 10])
    low, high = skewed_mean_interval(values)
    skewness = 8 / 3  # of a 0/1 with p = 0.1: (1 - 2p) / √(p (1 - p))
    slope, error = skewness / math.sqrt(10), 1.0
    for end, t in ((low, student(9)), (high, -student(9))):
        turned = (1 - end) / error
        assert turned + slope * turned**2 / 3 + slope**2 * turned**3 / 27 + slope / 6 == pytest.approx(t)
    assert high - 1 > 2 * (1 - low), "the tail is on the right"


def covered(draw: str, images: int, times: int = 1500) -> tuple[float, float]:
    """How often (Hall's, the percentile bootstrap's nearly: normal) interval holds the mean of an exponential or a mixture."""
    generator, held, normal = np.random.default_rng(0), 0, 0
    for _ in range(times):
        values, mean = generator.exponential(1, images), 1.0
        if draw == "losses":  # a tenth of the images is wrong and costs three nats, the rest nearly none
            wrong = generator.random(images) < 0.1
            values, mean = np.where(wrong, generator.gamma(2, 1.5, images), values * 0.03), 0.327
        low, high = skewed_mean_interval(values)
        held += low <= mean <= high
        normal += abs(values.mean() - mean) <= 1.96 * values.std() / math.sqrt(images)
    return held / times, normal / times


@pytest.mark.parametrize(("draw", "images"), [("exponential", 30), ("losses", 100)])
def test_a_losss_interval_holds_95_of_100_where_the_symmetric_one_does_not(draw: str, images: int) -> None:
    held, normal = covered(draw, images)
    assert 0.93 < held < 0.98
    assert normal < 0.93


def test_a_symmetric_difference_holds_95_of_100() -> None:
    generator, held = np.random.default_rng(1), 0
    for _ in range(2000):
        wrong = generator.random(50) < 0.3
        values = np.where(wrong, generator.normal(0, 3, 50), generator.normal(0, 0.5, 50))
        low, high = mean_interval(values)
        held += low <= 0 <= high
    assert 0.93 < held / 2000 < 0.975


def excess_of(images: int, generator: np.random.Generator, curve: float) -> np.ndarray:
    """A model that says c and is right in c ** curve of such images."""
    confidence = generator.uniform(0.1, 1, images)
    right = generator.random(images) < confidence**curve
    found = np.zeros((images, BINS))
    found[np.arange(images), (confidence * BINS).astype(int)] = confidence - right
    return found


@pytest.mark.slow
@pytest.mark.parametrize("curve", [1.0, 1.2, 1.6])
def test_the_calibration_errors_interval_holds_the_truth_and_the_plain_one_is_not_in_it(curve: float) -> None:
    """The old interval, the bootstrap's turned around, left out its own estimate; and the plain error is no estimate of it."""
    generator = np.random.default_rng(2)
    truth = float(np.abs(excess_of(2_000_000, generator, curve).mean(0)).sum()) if curve > 1 else 0.0
    held, bias, plain, times = 0, 0.0, 0.0, 250
    for _ in range(times):
        excess = excess_of(200, generator, curve)
        found = calibrated(excess, draws=500)
        assert found.low <= found.value <= found.high
        held += found.low <= truth <= found.high
        bias, plain = bias + (found.value - truth) / times, plain + (np.abs(excess.mean(0)).sum() - truth) / times
    assert 0.92 < held / times <= 0.99  # of 250 samples: 95 % ± 2.8 %
    assert abs(bias) < plain


def test_a_calibrated_model_shows_an_error_by_chance_and_zero_is_in_its_interval() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.stack([torch.rand(500, generator=generator) * 3, torch.zeros(500)], 1)
    labels = (torch.rand(500, generator=generator) > logits.softmax(1)[:, 0]).long()
    scores = image_scores(logits, labels)
    found = estimates(scores[None])[0][0][3]
    shown = np.abs(scores.mean(0)[3:]).sum()
    assert found.low == 0 <= found.value < found.high
    assert found.value < shown / 2


def test_images_that_are_right_with_a_confidence_of_1_count_too() -> None:
    """Their excess is 0: no bin shows them, and yet they do not say that all others are right."""
    for images in (20, 200, 2000):
        logits, labels = torch.tensor([[1000.0, 0.0]]).repeat(images, 1), torch.zeros(images, dtype=torch.long)
        found = estimates(image_scores(logits, labels)[None])[0][0][3]
        assert found.low == found.value == 0
        assert 0.5 / images < found.high < 5 / images


def test_fewer_images_make_a_wider_interval() -> None:
    widths = []
    for images in (50, 200, 1000, 5000):
        found = [calibrated(excess_of(images, np.random.default_rng(seed), 1.4), draws=500) for seed in range(5)]
        widths.append(np.mean([one.high - one.low for one in found]))
    assert sorted(widths, reverse=True) == widths


@pytest.mark.parametrize(("disagreements", "level"), [(10, 0.05), (40, 0.05), (200, 0.05), (40, 0.01)])
def test_mcnemars_p_is_below_its_level_no_more_often_than_it_says(disagreements: int, level: float) -> None:
    """Exactly, over all splits of so many disagreements between two models that are equally good."""
    chance = binomial(disagreements, 0.5)
    wrongly = sum(p for b, p in enumerate(chance) if exact_p(b, disagreements - b) <= level)
    assert 0.2 * level < wrongly <= level
