"""Batches made in memory have the pixels and the distributions of those made picture by picture."""

import numpy as np
import pytest
import torch

from allmlp.data.images import ArrayImages
from allmlp.data.loader import Order, plain_batches
from allmlp.data.memory import UNCHANGED, fits_memory, flipped, memory_batches, shifted
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment

SPEC = Preprocessing(img_size=(12, 10), in_chans=1, mean=(0.3,), std=(0.7,), crop_ratio=1.0)


@pytest.fixture
def images() -> ArrayImages:
    generator = np.random.default_rng(0)
    return ArrayImages(generator.integers(0, 256, (23, 12, 10), dtype=np.uint8), np.arange(23) % 3, "random")


@pytest.mark.parametrize("in_chans", [1, 3])
def test_unchanged_batches_equal_those_of_the_picture_pipeline_bit_for_bit(images: ArrayImages, in_chans: int) -> None:
    spec = SPEC.fit(img_size=(12, 10), in_chans=in_chans)
    fast = memory_batches(images, UNCHANGED, spec, batch=5, seed=None)
    slow = plain_batches(images, spec, in_chans=in_chans, batch=5, workers=0)
    for one, two in zip(fast, slow, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.indices, two.indices)


def test_shifts_are_uniform_and_bring_in_zeros() -> None:
    picture = torch.arange(1, 31, dtype=torch.uint8).reshape(1, 6, 5)
    count = 4000
    torch.manual_seed(0)
    moved = shifted(picture.expand(count, -1, -1), 1)
    framed = torch.nn.functional.pad(picture[0], [1] * 4)
    every = {(y, x): framed[y : y + 6, x : x + 5] for y in range(3) for x in range(3)}
    seen = {place: int((moved == window).flatten(1).all(1).sum()) for place, window in every.items()}
    assert sum(seen.values()) == count  # nothing but the nine windows of the framed picture
    expected = count / 9
    chi_square = sum((n - expected) ** 2 / expected for n in seen.values())
    assert chi_square < 26.1  # 8 degrees of freedom: exceeded by chance once in a thousand seeds


def test_flips_mirror_whole_pictures_with_their_probability() -> None:
    picture = torch.arange(12).reshape(1, 3, 4).expand(2000, -1, -1)
    torch.manual_seed(0)
    turned = (flipped(picture, 0.3) == picture.flip(-1)).flatten(1).all(1)
    kept = (flipped(picture, 0.3) == picture).flatten(1).all(1)
    assert 0.26 < float(turned.double().mean()) < 0.34  # four standard deviations
    assert 0.66 < float(kept.double().mean()) < 0.74


def test_an_epoch_shows_every_image_once_and_depends_on_seed_and_epoch_alone(images: ArrayImages) -> None:
    def epoch(seed: int, number: int, start: int = 0) -> list[torch.Tensor]:
        batches = memory_batches(images, Augment(padding=2, erase=0.5), SPEC, batch=4, seed=seed)
        order = batches.batch_sampler
        assert isinstance(order, Order)
        order.epoch, order.start = number, start
        found = list(batches)
        shown = torch.cat([b.indices for b in found]).tolist()
        assert len(shown) == len(set(shown)) == 4 * (5 - start)
        return [b.images for b in found]

    first = epoch(0, 0)
    assert all(map(torch.equal, first, epoch(0, 0)))
    assert not torch.equal(first[0], epoch(0, 1)[0])
    assert not torch.equal(first[0], epoch(1, 0)[0])
    assert all(map(torch.equal, first[3:], epoch(0, 0, start=3)))


def test_pictures_that_need_more_take_the_other_way(images: ArrayImages) -> None:
    assert fits_memory(images, Augment(), SPEC)
    assert not fits_memory(images, Augment(auto="rand-m5-n1"), SPEC)
    assert not fits_memory(images, Augment(color_jitter=0.1), SPEC)
    assert not fits_memory(images, Augment(crop="resized"), SPEC)
    assert not fits_memory(images, Augment(), SPEC.fit(img_size=(24, 20), in_chans=1))
