"""Numbers as the report says them."""

from datetime import UTC, datetime

import pytest

from allmlp.reporting.words import (
    between,
    columns,
    compact,
    duration,
    likelihood,
    moment,
    percent,
    points,
    shortened,
    signed,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (50, 100, 0.4038, 0.5962),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (891, 1000, 0.8702, 0.9088),
    ],
)
def test_wilson_interval_matches_hand_computed_values(right: int, images: int, low: float, high: float) -> None:
    assert wilson_interval(right / images, images) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_of_no_images_knows_nothing() -> None:
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_shares_are_said_in_percent() -> None:
    assert percent(0.891) == "89.1%"
    assert percent(None) == "–"
    assert between((0.8702, 0.9088)) == "87.0–90.9%"


@pytest.mark.parametrize(
    ("number", "said"), [(1228648, "1.23 M"), (15_400_000, "15.4 M"), (5000, "5 k"), (7, "7"), (2e9, "2 G")]
)
def test_large_numbers_are_said_with_three_digits(number: float, said: str) -> None:
    assert compact(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.84, "0.8 s"), (41, "41 s"), (101.2, "1 min 41 s"), (119.7, "2 min 00 s"), (1509, "25 min"), (7500, "2 h 05 min")],
)
def test_times_are_said_in_the_unit_that_fits(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_moments_are_said_in_utc() -> None:
    assert moment(datetime(2026, 11, 2, 1, 5, tzinfo=UTC)) == "2 November 2026, 01:05 UTC"


def test_wide_letters_count_twice_and_long_names_end_in_an_ellipsis() -> None:
    assert columns("衣服 a") == 6
    assert shortened("ankle boot", 10) == "ankle boot"
    assert shortened("ankle boots", 10) == "ankle boo…"
    assert shortened("衣服と靴の写真", 8) == "衣服と…"


def test_differences_have_a_sign_unless_they_round_to_nothing() -> None:
    assert [points(x) for x in (0.0123, -0.05, 0.0, -0.0001)] == ["+1.2", "−5.0", "0.0", "0.0"]
    assert signed(-0.5, 2) == "−0.50"


def test_likelihoods_have_as_many_digits_as_matter() -> None:
    assert [likelihood(p) for p in (1.0, 0.021484375, 0.00123, 1e-4, 9e-5, 0.0)] == [
        "1.000",
        "0.021",
        "0.0012",
        "0.0001",
        "< 0.0001",
        "< 0.0001",
    ]
