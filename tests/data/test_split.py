"""Choices among labelled images: stratified, seeded, disjoint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allmlp.data.split import few_shots, limited, split_off
from allmlp.errors import DataError

NAMES = ("cat", "dog", "owl")
counts = st.lists(st.integers(2, 40), min_size=1, max_size=5)


def labels_of(sizes: list[int]) -> np.ndarray:
    """Classes of these sizes, interleaved."""
    labels = np.concatenate([np.full(size, number) for number, size in enumerate(sizes)])
    return np.random.default_rng(0).permutation(labels)


@given(sizes=counts, share=st.floats(0.01, 0.99), seed=st.integers(0, 2**63 - 1))
def test_a_split_is_disjoint_complete_and_takes_the_share_of_every_class(sizes: list[int], share: float, seed: int) -> None:
    labels = labels_of(sizes)
    train, held = split_off(labels, tuple(map(str, range(len(sizes)))), share, seed)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(len(labels)))
    for number, size in enumerate(sizes):
        out = int((labels[held] == number).sum())
        assert 1 <= out <= size - 1
        assert abs(out - share * size) <= 1


def test_a_split_depends_on_the_seed_alone() -> None:
    labels = labels_of([30, 30, 30])
    first, again, other = (split_off(labels, NAMES, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sorted(first) == first


def test_one_class_splits_as_before_when_another_grows() -> None:
    few, more = np.repeat([0, 1], [10, 10]), np.repeat([0, 1], [10, 15])
    before, after = (split_off(labels, NAMES[:2], 0.3, 5)[1] for labels in (few, more))
    assert before[before < 10].tolist() == after[after < 10].tolist()


@pytest.mark.parametrize(("sizes", "said"), [([3, 1], "'dog' has 1 image:"), ([3, 0], "'dog' has 0 images:")])
def test_a_class_too_small_to_split_is_named(sizes: list[int], said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        split_off(labels_of(sizes), NAMES[:2], 0.1, 0)
    assert "val folder" in error.value.hint


@given(sizes=counts, most=st.integers(1, 120), seed=st.integers(0, 1000))
def test_a_limit_draws_evenly_from_the_classes(sizes: list[int], most: int, seed: int) -> None:
    labels = labels_of(sizes)
    if most < len(sizes):
        with pytest.raises(DataError, match="cannot cover"):
            limited(labels, len(sizes), most, seed)
        return
    chosen = limited(labels, len(sizes), most, seed)
    assert len(set(chosen.tolist())) == len(chosen) == min(most, len(labels))
    assert sorted(chosen.tolist()) == chosen.tolist()
    taken = np.bincount(labels[chosen], minlength=len(sizes))
    for number, size in enumerate(sizes):  # whoever got fewer than another has no more to give, or waits for one turn
        assert taken[number] in (size, taken.max(), taken.max() - 1)


def test_a_larger_limit_keeps_what_a_smaller_one_chose() -> None:
    labels = labels_of([20, 20, 20])
    few, more = (set(limited(labels, 3, most, 4).tolist()) for most in (12, 24))
    assert few < more
    assert few != set(limited(labels, 3, 12, 5).tolist())


def test_a_limit_below_the_number_of_classes_names_the_least() -> None:
    with pytest.raises(DataError, match="2 images cannot cover 3 classes") as error:
        limited(labels_of([5, 5, 5]), 3, 2, 0)
    assert "--train.limit 3" in error.value.hint


@given(sizes=counts, shots=st.integers(1, 50), seed=st.integers(0, 1000))
def test_few_shots_are_so_many_of_every_class_and_fewer_are_among_them(sizes: list[int], shots: int, seed: int) -> None:
    labels = labels_of(sizes)
    chosen = few_shots(labels, len(sizes), shots, seed)
    assert np.bincount(labels[chosen], minlength=len(sizes)).tolist() == [min(size, shots) for size in sizes]
    assert set(few_shots(labels, len(sizes), max(shots - 1, 1), seed)) <= set(chosen.tolist())
    assert chosen.tolist() == few_shots(labels, len(sizes), shots, seed).tolist()
