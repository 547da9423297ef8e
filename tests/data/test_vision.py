"""Data sets that torchvision fetches, from files as torchvision lays them."""

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torchvision import datasets

from allmlp.data.images import ArrayImages
from allmlp.data.sources import located, open_source
from allmlp.data.vision import SETS
from allmlp.errors import DataError
from helpers import picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(spec: str) -> Any:
    return open_source(spec, val_share=0.25, seed=0)


def idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.astype(np.uint8).tobytes()
    )


def test_mnist_is_grey_pictures_in_memory(tmp_path: Path) -> None:
    for part, count in (("train", 40), ("t10k", 10)):
        raw = tmp_path / "sets" / "MNIST" / "raw"
        labels = np.arange(count) % 10
        idx(raw / f"{part}-images-idx3-ubyte", np.broadcast_to(labels[:, None, None] * 20, (count, 28, 28)))
        idx(raw / f"{part}-labels-idx1-ubyte", labels)
    source = opened(f"torchvision:MNIST@{tmp_path}/sets")
    assert (source.title, source.in_chans, len(source.classes)) == ("mnist", 1, 10)
    assert source.classes[3] == "3 - three"
    assert isinstance(source.train, ArrayImages)
    assert (source.train.counts(10), source.val.counts(10), source.test.counts(10)) == ([3] * 10, [1] * 10, [1] * 10)
    assert all(source.train.pixels[i, 0, 0] == 20 * label for i, label in enumerate(source.train.labels))


def test_eurosat_is_pictures_in_files(tmp_path: Path, cache: Path) -> None:
    for k, name in enumerate(("Forest", "River")):
        folder = cache / "torchvision" / "eurosat" / "2750" / name
        folder.mkdir(parents=True)
        for i in range(6):
            picture(6 * k + i, (64, 64)).save(folder / f"{name}_{i}.png")
    (cache / "torchvision" / "eurosat" / "2750" / "River" / "River_6.png").write_bytes(b"noise")
    source = opened("torchvision:EuroSAT")
    assert source.classes == ("Forest", "River")
    assert (source.train.counts(2), source.val.counts(2), source.test) == ([4, 4], [2, 2], None)
    assert [reason for _, reason in source.left_out] == ["not a picture of a known format"]


def arrays(count: int, *, first: bool) -> SimpleNamespace:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    data = pixels.transpose(0, 3, 1, 2) if first else pixels
    return SimpleNamespace(data=data, labels=np.arange(count) % 5, pixels=pixels)


@pytest.mark.parametrize(("name", "first"), [("SVHN", True), ("CIFAR10", False)])
def test_arrays_come_with_channels_last_whatever_torchvision_has(
    name: str, first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = arrays(20, first=first)
    monkeypatch.setattr(datasets, name, lambda root, download, **_: found)
    images = opened(f"torchvision:{name}").test
    assert np.array_equal(images.pixels, found.pixels)


def test_files_and_labels_under_private_names_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(8):
        picture(i).save(tmp_path / f"{i}.png")
    files = [tmp_path / f"{i}.png" for i in range(8)]
    asked = []

    def flowers(root: str, download: bool, split: str) -> SimpleNamespace:
        asked.append(split)
        return SimpleNamespace(_image_files=files, _labels=[i % 2 for i in range(8)], classes=[("rose", "rosa"), ("daisy",)])

    monkeypatch.setattr(datasets, "Flowers102", flowers)
    source = opened("torchvision:Flowers102")
    assert asked == ["train", "val", "test"]
    assert source.classes == ("rose", "daisy")
    assert source.train.open(3, 3).tobytes() == picture(3).tobytes()


@pytest.mark.parametrize("raised", [OSError("no route to host"), RuntimeError("Dataset not found or corrupted.\nmore")])
def test_a_failed_download_says_where_the_files_may_lie(
    raised: Exception, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(DataError, match="could not be fetched: ") as error:
        opened("torchvision:CIFAR10")
    assert str(cache / "torchvision") in error.value.mend
    assert "more" not in error.value.what


def test_an_unknown_set_is_refused_with_the_nearest_names() -> None:
    for name, near in (("CIFAR", "CIFAR10"), ("VOCDetection", "choose one of")):
        with pytest.raises(DataError, match="no pictures with classes called") as error:
            opened(f"torchvision:{name}")
        assert near in error.value.mend


def test_every_set_of_the_table_is_torchvisions_and_takes_what_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    for name, parts in SETS.items():
        parameters = inspect.signature(getattr(datasets, name).__init__).parameters
        assert "root" in parameters, name
        assert all(key in parameters for arguments in parts.values() for key in arguments), name


def test_its_folder_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("torchvision:MNIST@sets") == f"torchvision:MNIST@{tmp_path}/sets"
    assert located("torchvision:MNIST") == "torchvision:MNIST"
