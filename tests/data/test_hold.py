"""Small pictures of one size are decoded once; what they show and what they are called stays the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp.data import hold
from allmlp.data.hold import HeldImages, held
from allmlp.data.images import FileImages, Source
from allmlp.data.loader import plain_batches
from allmlp.data.memory import UNCHANGED, fits_memory, memory_batches
from allmlp.data.sources import open_source
from allmlp.errors import DataError
from allmlp.pixels.preprocess import Preprocessing
from helpers import PictureFolder, picture

SPEC = Preprocessing(img_size=(16, 24), crop_ratio=1.0)


def opened(folder: Path) -> Source:
    return open_source(str(folder), val_share=0.25, seed=0)


def cut(path: Path) -> str:
    """Leave a picture's header whole and take the end of its pixels away, which only decoding finds."""
    path.write_bytes(path.read_bytes()[:-200])
    return str(path)


@pytest.mark.parametrize("in_chans", [1, 3])
def test_held_pictures_are_those_of_the_files_bit_for_bit(in_chans: int, picture_folder: PictureFolder) -> None:
    source = opened(picture_folder({"cat": 5, "dog": 4}))
    kept = held(source, in_chans)
    spec = SPEC.fit(img_size=(16, 24), in_chans=in_chans)
    assert kept.img_size == (16, 24)
    for files, images in ((source.train, kept.train), (source.val, kept.val)):
        assert fits_memory(images, UNCHANGED, spec)
        assert [images.name(i) for i in range(len(images))] == [files.name(i) for i in range(len(files))]
        fast = memory_batches(images, UNCHANGED, spec, batch=4, seed=None)
        slow = plain_batches(files, spec, reading=in_chans, batch=4, workers=0)
        for one, two in zip(fast, slow, strict=True):
            assert torch.equal(one.images, two.images)
            assert torch.equal(one.labels, two.labels)


def test_a_part_of_held_pictures_keeps_their_names(picture_folder: PictureFolder) -> None:
    images = held(opened(picture_folder({"cat": 6, "dog": 6}))).train
    part = images.subset(np.array([4, 1]))
    assert isinstance(part, HeldImages)
    assert (part.name(0), part.labels.tolist()) == (images.name(4), images.labels[[4, 1]].tolist())
    assert part.open(1, 3).tobytes() == images.open(1, 3).tobytes()


@pytest.mark.parametrize(
    "odd",
    [
        lambda root: picture(99, (24, 17)).save(root / "dog" / "3.png"),
        lambda root: _turned(root / "dog" / "3.png"),
    ],
    ids=["another size", "turned by its camera"],
)
def test_pictures_of_several_sizes_stay_in_their_files(odd: Any, picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 4, "dog": 4})
    odd(root)
    source = opened(root)
    assert held(source) is source
    assert isinstance(source.train, FileImages)


def _turned(path: Path) -> None:
    image = Image.open(path)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


def test_large_pictures_and_large_sets_stay_in_their_files(
    picture_folder: PictureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = picture_folder({"cat": 4, "dog": 4})
    source = opened(root)
    monkeypatch.setattr(hold, "MOST_BYTES", 8 * 24 * 16 * 3 - 1)
    assert held(source) is source
    monkeypatch.setattr(hold, "MOST_BYTES", 8 * 24 * 16 * 3)
    assert held(source) is not source
    for path in root.rglob("*.png"):
        picture(0, (65, 16)).save(path)
    assert held(opened(root)).img_size is None


def test_pictures_that_turn_out_damaged_are_left_out_with_the_reason(picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": 4, "train/dog": 4, "val/cat": 3, "val/dog": 2})
    bad = [cut(root / "train" / "cat" / "0.png"), cut(root / "val" / "cat" / "1.png")]
    source = opened(root)
    assert source.left_out == []
    kept = held(source)
    assert [path for path, _ in kept.left_out] == bad
    assert all("OSError" in reason or "truncated" in reason for _, reason in kept.left_out)
    assert (kept.train.counts(2), kept.val.counts(2)) == ([3, 4], [2, 2])
    assert not {kept.train.name(i) for i in range(len(kept.train))} & set(bad)


def test_a_class_whose_every_picture_is_damaged_is_refused(picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": 2, "train/dog": 4, "val/cat": 1, "val/dog": 1})
    bad = [cut(root / "train" / "cat" / name) for name in ("0.png", "1.png")]
    with pytest.raises(DataError, match=r"class 'cat' has no readable image \(2 cannot be read") as error:
        held(opened(root))
    assert bad[0] in error.value.what


def test_images_that_are_in_memory_already_stay_as_they_are() -> None:
    from allmlp.data.fashion import embedded

    source = embedded()
    assert held(source) is source
