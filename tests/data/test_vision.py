"""Data sets that torchvision fetches, from files as torchvision lays them."""

import json
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from allmlp.data.images import ArrayImages
from allmlp.data.sources import located, open_source
from allmlp.data.vision import SETS, kind_of
from allmlp.errors import DataError
from helpers import picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def matlab(monkeypatch: pytest.MonkeyPatch) -> None:
    """scipy may be missing: a stand-in that reads numpy's files."""
    reader = SimpleNamespace(loadmat=lambda path, squeeze_me=False: dict(np.load(Path(path), allow_pickle=True)))
    monkeypatch.setitem(sys.modules, "scipy", SimpleNamespace(io=reader))  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "scipy.io", reader)  # type: ignore[arg-type]


def saved(path: Path, **values: Any) -> None:
    """A file for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, **values)


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


def colours(path: Path, label: int, number: int) -> None:
    """A picture that tells its class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20 + number % 7, 24), (label * 40 + 20, 0, 0)).save(path, "JPEG", quality=95)


def tells(images: Any) -> bool:
    """Whether every picture is of its class."""
    reds = [np.asarray(images.open(i, 3))[..., 0].mean() for i in range(len(images))]
    return [round((red - 20) / 40) for red in reds] == images.labels.tolist()


def test_flowers_come_with_their_own_three_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, labels = tmp_path / "flowers-102", np.tile([1, 2, 3], 8)
    monkeypatch.setattr(datasets.Flowers102, "classes", ["pink primrose", "orchid", "bells"])
    monkeypatch.setattr("torchvision.datasets.flowers102.check_integrity", lambda path, md5: Path(path).is_file())
    for i, label in enumerate(labels, 1):
        colours(base / "jpg" / f"image_{i:05}.jpg", label - 1, i)
    saved(base / "imagelabels.mat", labels=labels)
    saved(base / "setid.mat", trnid=np.arange(1, 7), valid=np.arange(7, 13), tstid=np.arange(13, 25))
    source = opened(f"torchvision:Flowers102@{tmp_path}")
    assert source.classes == ("pink primrose", "orchid", "bells")
    assert [len(part) for part in (source.train, source.val, source.test)] == [6, 6, 12]
    assert all(map(tells, (source.train, source.val, source.test)))


def test_pets_come_with_training_and_test_pictures(tmp_path: Path) -> None:
    base = tmp_path / "oxford-iiit-pet"
    (base / "annotations").mkdir(parents=True)
    for part, numbers in (("trainval", range(8)), ("test", range(8, 12))):
        lines = [("Abyssinian", "american_bulldog")[i % 2] + f"_{i} {i % 2 + 1} {i % 2 + 1} 1" for i in numbers]
        (base / "annotations" / f"{part}.txt").write_text("\n".join(lines) + "\n")
        for i, line in zip(numbers, lines, strict=True):
            colours(base / "images" / f"{line.split()[0]}.jpg", i % 2, i)
    source = opened(f"torchvision:OxfordIIITPet@{tmp_path}")
    assert source.classes == ("Abyssinian", "American Bulldog")
    assert [len(part) for part in (source.train, source.val, source.test)] == [6, 2, 4]
    assert all(map(tells, (source.train, source.val, source.test)))


def test_cars_come_with_training_and_test_pictures_though_nobody_has_them_to_fetch(tmp_path: Path) -> None:
    base = tmp_path / "stanford_cars"
    kind = [("fname", object), ("class", int)]
    for part, place, count in (
        ("train", base / "devkit" / "cars_train_annos.mat", 8),
        ("test", base / "cars_test_annos_withlabels.mat", 4),
    ):
        rows = np.array([(f"{i:05}.jpg", i % 2 + 1) for i in range(count)], dtype=kind)
        saved(place, annotations=rows)
        for i in range(count):
            colours(base / f"cars_{part}" / f"{i:05}.jpg", i % 2, i)
    saved(base / "devkit" / "cars_meta.mat", class_names=np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"]))
    source = opened(f"torchvision:StanfordCars@{tmp_path}")
    assert source.classes == ("AM General Hummer SUV 2000", "Acura RL Sedan 2012")
    assert [len(part) for part in (source.train, source.val, source.test)] == [6, 2, 4]
    assert all(map(tells, (source.train, source.val, source.test)))
    with pytest.raises(DataError, match="could not be fetched: ValueError: The original URL is broken") as error:
        opened(f"torchvision:StanfordCars@{tmp_path}/none")
    assert "as torchvision lays them" in error.value.hint


def competition(tmp_path: Path) -> None:
    """iNaturalist 2018: numbers sort otherwise as text, and the tree does not say what is for training."""
    names: dict[str, list[str]] = {"train": [], "val": []}
    for i in range(24):
        label = i % 4
        name = f"{('Fungi', 'Plantae')[label % 2]}/{(2, 10, 0, 1)[label]}/{i:032x}.jpg"
        colours(tmp_path / "2018" / name, (2, 3, 0, 1)[label], i)
        names["val" if i < 8 else "train"].append(name)
    (tmp_path / "2018" / "Plantae" / "10").rename(tmp_path / "2018" / "Plantae" / "3")
    for part, files in names.items():
        listed = [{"id": i, "file_name": f"train_val2018/{name.replace('/10/', '/3/')}"} for i, name in enumerate(files)]
        (tmp_path / f"{part}2018.json").write_text(json.dumps({"images": listed}))


def test_inaturalist_comes_with_the_parts_of_its_competition(tmp_path: Path) -> None:
    competition(tmp_path)
    source = opened(f"torchvision:INaturalist2018@{tmp_path}")
    assert source.classes == ("Fungi/0", "Plantae/1", "Fungi/2", "Plantae/3")
    assert [part.counts(4) for part in (source.train, source.val)] == [[4] * 4, [2] * 4]
    assert all(map(tells, (source.train, source.val)))


def test_inaturalist_without_its_whole_lists_is_refused(tmp_path: Path) -> None:
    competition(tmp_path)
    spec = f"torchvision:INaturalist2018@{tmp_path}"
    content = json.loads((tmp_path / "train2018.json").read_text())
    content["images"].append({"file_name": "train_val2018/Fungi/0/gone.jpg"})
    (tmp_path / "train2018.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"1 images that the list of .* names are not there, such as Fungi/0/gone\.jpg"):
        opened(spec)
    (tmp_path / "train2018.json").write_text("[]")
    with pytest.raises(DataError, match="no list of iNaturalist's images"):
        opened(spec)
    (tmp_path / "train2018.json").unlink()
    with pytest.raises(DataError, match="which of iNaturalist's images are for training") as error:
        opened(spec)
    assert "inat_comp" in error.value.hint


def test_inaturalist_2021_has_a_tree_for_each_part(tmp_path: Path) -> None:
    for part, count in (("2021_train", 3), ("2021_valid", 1)):
        for label in range(2):
            folder = f"{label:05}_Animalia_Arthropoda_Insecta_Coleoptera_Cleridae_Trichodes_t{label}"
            for i in range(count):
                colours(tmp_path / part / folder / f"{i}.jpg", label, i)
    source = opened(f"torchvision:INaturalist2021@{tmp_path}")
    assert [part.counts(2) for part in (source.train, source.val)] == [[3, 3], [1, 1]]
    assert all(map(tells, (source.train, source.val)))


def test_labels_of_matlab_need_an_extra_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)  # type: ignore[arg-type]
    for name in ("Flowers102", "StanfordCars", "SVHN"):
        with pytest.raises(DataError, match="needs the library scipy") as error:
            opened(f"torchvision:{name}@{tmp_path}")
        assert error.value.hint == "pip install 'allmlp[vision]'"


@pytest.mark.parametrize("raised", [OSError("no route to host"), RuntimeError("Dataset not found or corrupted.\nmore")])
def test_a_failed_download_says_where_the_files_may_lie(
    raised: Exception, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(datasets, "CIFAR10", fail)
    with pytest.raises(DataError, match="could not be fetched: ") as error:
        opened("torchvision:CIFAR10")
    assert str(cache / "torchvision") in error.value.hint
    assert "more" not in error.value.what


def test_an_unknown_set_is_refused_with_the_nearest_names() -> None:
    for name, near in (("CIFAR", "CIFAR10"), ("VOCDetection", "choose one of")):
        with pytest.raises(DataError, match="no pictures with classes called") as error:
            opened(f"torchvision:{name}")
        assert near in error.value.hint


def test_every_set_of_the_table_is_torchvisions_and_takes_what_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    for name, parts in SETS.items():
        parameters = inspect.signature(getattr(datasets, kind_of(name)).__init__).parameters
        assert "root" in parameters, name
        assert all(key in parameters for arguments in parts.values() for key in arguments), name


def test_its_folder_is_the_same_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("torchvision:MNIST@sets") == f"torchvision:MNIST@{tmp_path}/sets"
    assert located("torchvision:MNIST") == "torchvision:MNIST"
