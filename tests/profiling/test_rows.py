"""Rows: what follows from the times, and the way to JSON and back."""

import json

import pytest

from allmlp.profiling.published import published
from allmlp.profiling.rows import Profile, Row, spread


def test_speeds_follow_from_the_medians_of_the_rounds() -> None:
    row = Row(name="x", kind="timm", folded=False, batch=32, batch_seconds=[2.0, 4.0, 3.0], single_seconds=[0.2, 0.1, 0.4])
    assert row.images_per_s == pytest.approx(32 / 3)
    assert row.ms == pytest.approx(200)
    assert row.images_per_s_spread == pytest.approx((3.5 - 2.5) / 2 / 3)


def test_the_spread_is_half_the_middle_half() -> None:
    assert spread([10.0]) is None
    assert spread([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.1)
    assert spread([8.0, 9.0, 10.0, 11.0, 1000.0]) == pytest.approx(0.1)


def test_a_row_without_rounds_has_no_speed() -> None:
    row = Row(name="x", kind="timm", folded=False, batch=32)
    assert (row.images_per_s, row.images_per_s_spread, row.ms, row.ms_spread) == (None, None, None, None)


def test_a_profile_survives_json() -> None:
    rows = [
        Row(
            name="resmlp_s12",
            kind="allmlp",
            folded=False,
            batch=32,
            img_size=(224, 224),
            parameters=15,
            batch_seconds=[1.0],
            published=published("resmlp_s12", (224, 224)),
        ),
        Row(name="y", kind="run", folded=True, batch=32, error="broken"),
    ]
    profile = Profile(rows, {"threads": 2}, interrupted=True)
    assert Profile.from_dict(json.loads(json.dumps(profile.to_dict()))) == profile
