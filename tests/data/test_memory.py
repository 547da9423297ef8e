"""Batches made in memory have the pixels and the distributions of those made picture by picture."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from allmlp.data.images import ArrayImages
from allmlp.data.loader import Order, plain_batches, training_batches
from allmlp.data.memory import UNCHANGED, fits_memory, memory_batches
from allmlp.data.transforms import training_transform
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment, recipe_from
from allmlp.training.distributed import Team
from allmlp.training.main import images_of
from allmlp.training.setup import make_plan

SPEC = Preprocessing(img_size=(12, 10), in_chans=1, mean=(0.3,), std=(0.7,), crop_ratio=1.0)


@pytest.fixture
def images() -> ArrayImages:
    generator = np.random.default_rng(0)
    return ArrayImages(generator.integers(0, 256, (23, 12, 10), dtype=np.uint8), np.arange(23) % 3, "random")


@pytest.fixture
def colour() -> ArrayImages:
    generator = np.random.default_rng(0)
    return ArrayImages(generator.integers(0, 256, (9, 12, 10, 3), dtype=np.uint8), np.arange(9) % 3, "random")


@pytest.mark.parametrize(("kind", "in_chans"), [("images", 1), ("images", 3), ("colour", 3)])
def test_unchanged_batches_equal_those_of_the_picture_pipeline_bit_for_bit(
    kind: str, in_chans: int, request: pytest.FixtureRequest
) -> None:
    images = request.getfixturevalue(kind)
    spec = SPEC.fit(img_size=(12, 10), in_chans=in_chans)
    fast = memory_batches(images, UNCHANGED, spec, batch=5, seed=None)
    slow = plain_batches(images, spec, reading=in_chans, batch=5, workers=0)
    for one, two in zip(fast, slow, strict=True):
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.indices, two.indices)


@pytest.mark.parametrize(
    ("augment", "size"),
    [
        (Augment(padding=2, erase=0.4), (12, 10)),
        (Augment(crop="resized", min_area=0.2, color_jitter=0.4), (12, 10)),
        (Augment(crop="resized", min_area=0.2), (16, 14)),
        (Augment(crop="resized", min_area=0.5, auto="rand-m9-mstd0.5"), (12, 10)),
    ],
    ids=["whole", "parts", "parts of larger", "parts by a policy"],
)
def test_pixels_differ_from_those_of_the_picture_pipeline_by_chance_alone(augment: Augment, size: tuple[int, int]) -> None:
    """One picture, changed some thousand times both ways: every pixel's first three moments agree."""
    count, spec = 3000, SPEC.fit(img_size=(12, 10), in_chans=3)
    if augment.auto:
        spec = replace(spec, interpolation="bilinear")
    picture = np.random.default_rng(1).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    images = ArrayImages(np.repeat(picture, count, 0), np.zeros(count), "one")
    fast = torch.cat([b.images for b in memory_batches(images, augment, spec, batch=500, seed=1)]).double()
    transform = training_transform(augment, spec)
    slow = torch.cat([b.images for b in training_batches(images, transform, reading=3, batch=500, seed=1, workers=0)]).double()
    for power in (1, 2, 3):
        one, two = fast**power, slow**power
        error = ((one.var(0) + two.var(0)) / count).sqrt()
        assert float(((one.mean(0) - two.mean(0)).abs() / error).max()) < 4.5  # of 360 values, all under it


@pytest.mark.parametrize("augment", [Augment(padding=2, erase=0.5), Augment(crop="resized", erase=0.5)], ids=["whole", "parts"])
def test_an_images_changes_do_not_depend_on_its_batch(augment: Augment, images: ArrayImages) -> None:
    def pixels(batch: int) -> dict[int, torch.Tensor]:
        made = memory_batches(images, augment, SPEC, batch=batch, seed=3, workers=batch // 10)
        return {int(i): image for b in made for i, image in zip(b.indices, b.images, strict=True)}

    one, many = pixels(1), pixels(20)
    assert len(one) == 23
    assert all(torch.equal(one[i], many[i]) for i in many)


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


def test_pictures_that_need_more_take_the_other_way(images: ArrayImages, colour: ArrayImages) -> None:
    assert fits_memory(colour, Augment(), SPEC.fit(img_size=(12, 10), in_chans=3))
    assert not fits_memory(colour, Augment(), SPEC)  # colours would have to become grey first
    assert fits_memory(images, Augment(), SPEC)
    assert fits_memory(images, Augment(auto="rand-m5-n1"), SPEC)
    assert not fits_memory(images, Augment(auto="augmix-m3-w3"), SPEC)
    assert not fits_memory(images, Augment(), SPEC.fit(img_size=(24, 20), in_chans=1))
    assert fits_memory(images, Augment(crop="resized"), SPEC.fit(img_size=(24, 20), in_chans=1))
    assert not fits_memory(images, Augment(crop="resized"), SPEC.fit(img_size=(72, 60), in_chans=1))
    assert not fits_memory(images, Augment(crop="resized"), replace(SPEC, interpolation="lanczos"))
    by_policy = Augment(crop="resized", auto="rand-m5-n1")
    assert not fits_memory(images, by_policy, SPEC)  # timm turns and shears by the cubic filter there
    assert fits_memory(images, by_policy, replace(SPEC, interpolation="bilinear"))


def test_parts_of_grey_pictures_are_the_same_in_all_channels(images: ArrayImages) -> None:
    spec = Preprocessing(img_size=(24, 20), in_chans=3, mean=(0.5,) * 3, std=(0.5,) * 3)
    (made,) = memory_batches(images, Augment(crop="resized"), spec, batch=23, seed=0)
    assert made.images.shape == (23, 3, 24, 20)
    assert torch.equal(made.images[:, 0], made.images[:, 2])
    with torch.autocast("cpu", torch.bfloat16):
        (again,) = memory_batches(images, Augment(crop="resized"), spec, batch=23, seed=0)
    assert torch.equal(made.images, again.images)


def test_training_cuts_parts_from_pictures_as_they_came(stripes: Path) -> None:
    given = {"model": "resmlp_xs", "data": {"img_size": [32, 32]}, "augment": {"crop": "resized"}, "train": {"batch": 8}}
    recipe = recipe_from(given)
    plan = make_plan(recipe, images_of(str(stripes), recipe, Team(), quiet=True))
    assert plan.train_batches.dataset.pixels.shape[1:3] == (16, 16)
    assert plan.val_batches.dataset.pixels.shape[1:3] == (32, 32)
    assert next(iter(plan.train_batches)).images.shape[2:] == (32, 32)
