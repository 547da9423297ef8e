"""Mixup, CutMix and label smoothing: targets are probabilities, and pixels and targets agree."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allmlp.data.keys import seed_everything
from allmlp.data.mix import Mix, smoothed
from allmlp.recipe import Augment

LABELS = torch.tensor([0, 1, 2, 3])


def flat_images(count: int = 4, side: int = 8) -> torch.Tensor:
    """Image i is filled with i."""
    return torch.arange(float(count))[:, None, None, None].expand(count, 3, side, side).clone()


def test_smoothing_spreads_its_share_over_all_classes() -> None:
    expected = torch.tensor([[0.025, 0.925, 0.025, 0.025], [0.025, 0.025, 0.025, 0.925]])
    torch.testing.assert_close(smoothed(torch.tensor([1, 3]), 4, 0.1), expected)
    assert smoothed(torch.tensor([2]), 4, 0.0).tolist() == [[0, 0, 1, 0]]


@given(
    mixup=st.just(0.0) | st.floats(0.01, 2),
    cutmix=st.just(0.0) | st.floats(0.01, 2),
    smoothing=st.floats(0, 0.9),
    mixing=st.booleans(),
    count=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_targets_are_probabilities(mixup: float, cutmix: float, smoothing: float, mixing: bool, count: int, seed: int) -> None:
    seed_everything(seed, "step", 0)
    mix = Mix(Augment(mixup=mixup, cutmix=cutmix), classes=5, smoothing=smoothing)
    images, target = mix(flat_images(count), torch.arange(count) % 5, mixing=mixing)
    assert target.shape == (count, 5)
    torch.testing.assert_close(target.sum(1), torch.ones(count), rtol=1e-5, atol=1e-5)
    assert (target >= 0).all()
    assert torch.isfinite(images).all()


def test_mixup_blends_pixels_and_targets_in_one_proportion() -> None:
    mix = Mix(Augment(mixup=0.8), classes=4, smoothing=0.0)
    shares = set()
    for seed in range(8):
        seed_everything(seed, "step", 0)
        images, target = mix(flat_images(), LABELS, mixing=True)
        share = float(target[0, 0])
        assert target[0].tolist() == pytest.approx([share, 0, 0, 1 - share], abs=1e-6)
        np.testing.assert_allclose(images[0], 3 * (1 - share), atol=1e-5)  # image 0 with image 3
        np.testing.assert_allclose(images[1], share * 1 + (1 - share) * 2, atol=1e-5)
        shares.add(share)
    assert len(shares) == 8


def test_cutmix_pastes_a_rectangle_as_large_as_the_targets_say() -> None:
    mix = Mix(Augment(cutmix=1.0), classes=4, smoothing=0.0)
    pasted = 0
    for seed in range(8):
        seed_everything(seed, "step", 0)
        images, target = mix(flat_images(), LABELS, mixing=True)
        foreign = (images[0, 0] == 3).float()
        assert set(images[0].unique().tolist()) <= {0.0, 3.0}
        assert float(foreign.mean()) == pytest.approx(float(target[0, 3]), abs=1e-6)
        pasted += bool(foreign.any())
    assert pasted > 4


@pytest.mark.parametrize(("count", "mixing"), [(4, False), (3, True)], ids=["switched off", "an odd batch"])
def test_unmixed_batches_are_smoothed_and_otherwise_left_alone(count: int, mixing: bool) -> None:
    mix = Mix(Augment(mixup=0.8, cutmix=1.0), classes=4, smoothing=0.1)
    before = flat_images(count)
    images, target = mix(before, LABELS[:count], mixing=mixing)
    assert torch.equal(images, flat_images(count))
    assert torch.equal(target, smoothed(LABELS[:count], 4, 0.1))


def test_without_mixing_nothing_random_happens() -> None:
    images, target = Mix(Augment(), classes=4, smoothing=0.1)(flat_images(), LABELS, mixing=True)
    assert torch.equal(images, flat_images())
    assert torch.equal(target, smoothed(LABELS, 4, 0.1))


def test_mixing_leaves_the_images_it_was_given_alone() -> None:
    """So that it shows whether a batch was mixed: such a batch has no accuracy."""
    images = torch.rand(4, 3, 8, 8)
    before = images.clone()
    mixed, _ = Mix(Augment(mixup=1.0), classes=2, smoothing=0.0)(images, torch.tensor([0, 1, 0, 1]), mixing=True)
    assert torch.equal(images, before)
    assert mixed is not images
