"""Batches depend on (seed, epoch, index) alone, not on workers nor on where a run was interrupted."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from allmlp.data.folder import Folder
from allmlp.data.images import ArrayImages, FileImages
from allmlp.data.keys import seed_everything
from allmlp.data.loader import Batch, Order, plain_batches, training_batches
from allmlp.data.memory import memory_batches
from allmlp.data.transforms import training_transform
from allmlp.data.tree import list_classes
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment
from helpers import PictureFolder

SPEC = Preprocessing(img_size=(16, 16))
AUGMENT = Augment(crop="resized", auto="rand-m9-mstd0.5-inc1", color_jitter=0.4, erase=0.5)


@pytest.fixture
def images(picture_folder: PictureFolder) -> FileImages:
    """Thirteen images of two classes."""
    images = list_classes(Folder(picture_folder({"cat": 7, "dog": 6}))).images
    assert isinstance(images, FileImages)
    return images


def training(images: FileImages, *, epoch: int = 0, start: int = 0, **options: Any) -> list[Batch]:
    transform = training_transform(AUGMENT, SPEC)
    loader = training_batches(images, transform, **{"reading": 3, "batch": 4, "seed": 5, "workers": 0, **options})
    order: Any = loader.batch_sampler
    order.epoch, order.start = epoch, start
    assert len(loader) == order.steps - start
    return list(loader)


def same(a: Iterable[Batch], b: Iterable[Batch]) -> bool:
    return all(
        torch.equal(x.images, y.images) and torch.equal(x.labels, y.labels) and torch.equal(x.indices, y.indices)
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_make_no_difference_to_a_pixel(workers: int, images: FileImages) -> None:
    assert same(training(images), training(images, workers=workers))


def test_the_state_of_the_generators_outside_makes_no_difference(images: FileImages) -> None:
    seed_everything(1, "weights")
    first = training(images)
    seed_everything(2, "weights")
    assert same(first, training(images))


@pytest.mark.parametrize("start", [1, 2, 3])
def test_resuming_in_the_middle_gives_the_batches_that_were_left(start: int, images: FileImages) -> None:
    assert same(training(images, epoch=2)[start:], training(images, epoch=2, start=start))


def test_every_epoch_and_every_seed_has_its_own_order_and_pixels(images: FileImages) -> None:
    runs = [training(images), training(images, epoch=1), training(images, seed=6)]
    orders = [torch.cat([b.indices for b in run]).tolist() for run in runs]
    assert len({tuple(order) for order in orders}) == 3
    pixels = [{int(i): x for b in run for i, x in zip(b.indices, b.images, strict=True)} for run in runs]
    shared = set(pixels[0]) & set(pixels[1]) & set(pixels[2])
    assert any(not torch.equal(pixels[0][i], pixels[1][i]) for i in shared)
    assert any(not torch.equal(pixels[0][i], pixels[2][i]) for i in shared)


def test_the_same_picture_is_changed_differently_at_every_place_in_an_epoch(images: FileImages) -> None:
    alike = FileImages([images.paths[0]] * 8, [0] * 8)
    shown = [image.numpy().tobytes() for b in training(alike) for image in b.images]
    assert len(set(shown)) == len(shown) == 8


def test_an_epoch_shows_no_image_twice_and_drops_what_fills_no_batch(images: FileImages) -> None:
    shown = torch.cat([b.indices for b in training(images)]).tolist()
    assert len(shown) == len(set(shown)) == 12
    over = {i for epoch in range(8) for b in training(images, epoch=epoch) for i in b.indices.tolist()}
    assert over == set(range(13))


def test_fewer_images_than_a_batch_are_one_batch(images: FileImages) -> None:
    (batch,) = training(images, batch=64)
    assert sorted(batch.indices.tolist()) == list(range(13))


def test_labels_and_indices_belong_to_their_images(images: FileImages) -> None:
    for batch in plain_batches(images, SPEC, reading=3, batch=4, workers=0):
        for image, label, index in zip(batch.images, batch.labels.tolist(), batch.indices.tolist(), strict=True):
            assert label == images.labels[index]
            assert torch.equal(image, SPEC(images.open(index, 3)))


@pytest.mark.parametrize("workers", [0, 2])
def test_plain_batches_are_every_image_once_in_order(workers: int, images: FileImages) -> None:
    loader = plain_batches(images, SPEC, reading=3, batch=4, workers=workers)
    batches = list(loader)
    assert [len(b.labels) for b in batches] == [4, 4, 4, 1]
    assert len(loader) == 4
    assert torch.cat([b.indices for b in batches]).tolist() == list(range(13))
    assert batches[0].images.shape == (4, 3, 16, 16)


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_images_are_dropped_and_reported_and_the_rest_stay_the_same(workers: int, images: FileImages) -> None:
    whole = {int(i): x for b in training(images) for i, x in zip(b.indices, b.images, strict=True)}
    for index in (2, 9):
        Path(images.paths[index]).write_bytes(b"noise")
    batches = training(images, workers=workers)
    reported = [bad for b in batches for bad in b.unreadable]
    gone = {2, 9} & set(whole)
    assert sorted(reported) == [(images.name(i), "not a picture of a known format") for i in sorted(gone)]
    kept = {int(i): x for b in batches for i, x in zip(b.indices, b.images, strict=True)}
    assert set(kept) == set(whole) - gone
    assert all(torch.equal(kept[i], whole[i]) for i in kept)
    assert sum(len(b.labels) for b in batches) == 12 - len(gone)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_kind_of_damaged_picture_is_survived(workers: int, images: FileImages) -> None:
    bad = sorted(str(p) for p in (Path(__file__).parent.parent / "bad-images").iterdir() if p.name != "LICENSE")
    mixed = FileImages([*images.paths, *bad], [0] * (13 + len(bad)))
    batches = list(plain_batches(mixed, SPEC, reading=3, batch=8, workers=workers))
    assert torch.cat([b.indices for b in batches]).tolist() == list(range(13))
    reported = [failure for b in batches for failure in b.unreadable]
    assert [path for path, _ in reported] == bad
    assert all(reason for _, reason in reported)
    shown = training(mixed, workers=workers, batch=13 + len(bad))
    assert (len(shown[0].labels), len(shown[0].unreadable)) == (13, len(bad))


def test_a_batch_of_unreadable_images_alone_is_empty_and_reported(images: FileImages) -> None:
    for path in images.paths[:4]:
        Path(path).write_bytes(b"noise")
    first, *rest = plain_batches(images, SPEC, reading=3, batch=4, workers=0)
    assert (len(first.images), first.labels.dtype, len(first.unreadable)) == (0, torch.long, 4)
    assert sum(len(b.labels) for b in rest) == 9


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("count", [5, 13, 24])
def test_repeated_images_stand_together_each_changed_anew_in_epochs_as_long_as_before(held: bool, count: int) -> None:
    """One process, and sets of any size: nothing is rounded to a multiple of anything."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    images, batch = ArrayImages(pixels, np.arange(count) % 2, "noise"), 4
    augment, spec = Augment(crop="pad", padding=3, flip=0.5, repeats=3), Preprocessing(img_size=(16, 16), crop_ratio=1.0)
    if held:
        loader = memory_batches(images, augment, spec, batch=batch, seed=1)
    else:
        transform = training_transform(augment, spec)
        loader = training_batches(images, transform, reading=3, batch=batch, seed=1, workers=0, repeats=3)
    order: Any = loader.batch_sampler
    assert order.steps == len(loader) == count // batch
    seen = list(loader)
    indices = torch.cat([b.indices for b in seen]).tolist()
    assert indices == [i for i in indices[::3] for _ in range(3)][: len(indices)]
    assert len(set(indices[::3])) == len(indices[::3])  # an image comes back within its copies alone
    copies = torch.cat([b.images for b in seen])
    assert len(torch.unique(copies.flatten(1), dim=0)) > len(set(indices))
    order.epoch = 1
    assert not torch.equal(torch.cat([b.images for b in loader]), copies)
    order.epoch, order.start = 0, 1
    assert same(list(loader), seen[1:])


def test_processes_share_repeated_images_as_one_has_them() -> None:
    whole = list(Order(13, 6, seed=2, drop_last=True, repeats=3))
    shares = [list(Order(13, 6, seed=2, drop_last=True, repeats=3, rank=rank, world=2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert [key for pair in zip(first, second, strict=True) for key in pair] == batch
    assert {epoch for batch in whole for epoch, _ in batch} == {0, 1, 2}
