"""Fashion-MNIST: the embedded subset's facts, and idx files good and bad."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from allmlp.data import fashion
from allmlp.data.fashion import CLASSES, embedded, read_idx
from allmlp.data.images import ArrayImages
from allmlp.data.sources import open_source
from allmlp.errors import DataError


def write_idx(path: Path, array: np.ndarray, *, kind: int = 8) -> Path:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))
    return path


def whole_set(folder: Path, per_class: int = 10, test: int = 2) -> Path:
    """The four files of Fashion-MNIST with few images; image i of the training files is filled with i."""
    folder.mkdir()
    for part, count in (("train", per_class), ("t10k", test)):
        labels = np.tile(np.arange(10), count)
        pixels = np.broadcast_to(np.arange(len(labels))[:, None, None] % 256, (len(labels), 28, 28))
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pixels)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


def pixels_of(images: object) -> np.ndarray:
    assert isinstance(images, ArrayImages)
    return images.pixels


def test_the_embedded_subset_is_900_and_100_images_of_each_class() -> None:
    source = embedded()
    assert source.classes == CLASSES
    assert (source.train.counts(10), source.val.counts(10)) == ([900] * 10, [100] * 10)
    assert source.test is None
    assert (source.in_chans, source.img_size) == (1, (28, 28))
    assert pixels_of(source.train).shape == (9000, 28, 28)
    assert pixels_of(source.val).dtype == np.uint8


def test_no_embedded_image_is_in_both_parts() -> None:
    source = embedded()
    train, val = ({image.tobytes() for image in pixels_of(part)} for part in (source.train, source.val))
    assert train.isdisjoint(val)
    assert len(val) == 1000


def test_embedded_pictures_look_like_their_class() -> None:
    source = embedded()
    pixels = pixels_of(source.train).astype(float)
    mean = {name: pixels[source.train.labels == i].mean(0) for i, name in enumerate(CLASSES)}
    assert mean["trouser"][20, 13:15].mean() < mean["dress"][20, 13:15].mean()  # trousers have a gap between the legs
    assert mean["sandal"][4:8].mean() < mean["ankle boot"][4:8].mean()  # boots are high
    assert mean["t-shirt"][14, 2:6].mean() < mean["pullover"][14, 2:6].mean()  # pullovers have sleeves


def test_array_images_open_as_grey_or_rgb_and_know_where_they_came_from() -> None:
    images = embedded().val
    assert (images.open(3, 1).mode, images.open(3, 3).mode) == ("L", "RGB")
    assert np.array_equal(np.asarray(images.open(3, 1)), pixels_of(images)[3])
    assert images.name(3) == "fashion-mnist-val#3"
    part = images.subset(np.array([7, 3]))
    assert (part.name(1), part.labels.tolist()) == (images.name(3), images.labels[[7, 3]].tolist())
    assert part.subset(np.array([1])).name(0) == images.name(3)
    assert np.array_equal(np.asarray(part.open(1, 1)), np.asarray(images.open(3, 1)))


def test_idx_files_of_any_rank_are_read(tmp_path: Path) -> None:
    for shape in ((5,), (2, 3), (2, 3, 4)):
        array = np.arange(np.prod(shape)).reshape(shape)
        assert np.array_equal(read_idx(write_idx(tmp_path / "a.gz", array)), array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not gzip",
        gzip.compress(b""),
        gzip.compress(b"\0\0\x08"),
        gzip.compress(b"\0\0\x08\x01"),
        gzip.compress(b"\0\0\x08\x01" + struct.pack(">i", 5) + b"1234"),
        gzip.compress(b"\0\0\x08\x01" + struct.pack(">i", 3) + b"1234"),
        gzip.compress(b"\0\0\x08\x01" + struct.pack(">i", -1) + b"1234")[:-9],
        gzip.compress(b"\0\0\x08\x02" + struct.pack(">ii", -2, -2) + b"1234"),
        gzip.compress(b"\0\0\x0d\x01" + struct.pack(">i", 4) + b"1234"),
        gzip.compress(b"\x01\0\x08\x01" + struct.pack(">i", 4) + b"1234"),
        gzip.compress(b"\0\0\x08\xff" + b"1234" * 200),
        gzip.compress(b"1" * 500)[:12] + b"\xff" * 30,
    ],
    ids=[
        "empty",
        "not gzip",
        "nothing inside",
        "no rank",
        "no shape",
        "too few",
        "too many",
        "cut",
        "negative",
        "floats",
        "no magic",
        "rank 255",
        "damaged stream",
    ],
)
def test_a_damaged_idx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(DataError, match="is not an idx file of bytes") as error:
        read_idx(tmp_path / "a.gz")
    assert error.value.hint


def test_a_missing_idx_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not an idx file of bytes"):
        read_idx(tmp_path / "none.gz")


def test_the_whole_set_holds_out_a_share_of_the_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fashion, "DEBIAN", whole_set(tmp_path / "debian"))
    source = open_source("fashion-mnist", val_share=0.2, seed=3)
    assert (source.train.counts(10), source.val.counts(10)) == ([8] * 10, [2] * 10)
    assert source.test is not None
    assert source.test.counts(10) == [2] * 10
    train, val = (set(pixels_of(part)[:, 0, 0].tolist()) for part in (source.train, source.val))
    assert (train.isdisjoint(val), len(train | val)) == (True, 100)
    number = int(source.val.name(0).split("#")[1])
    assert source.val.open(0, 1).getpixel((0, 0)) == number  # names lead back to the file


def test_the_download_is_used_where_debians_package_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(root: str, *, train: bool, download: bool) -> None:
        assert (train, download) == (True, True)
        raw = Path(root) / "FashionMNIST" / "raw"
        raw.parent.mkdir(parents=True)
        whole_set(raw)

    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "none")
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", download)
    assert len(open_source("fashion-mnist", val_share=0.1, seed=0).train) == 90


@pytest.mark.parametrize("raised", [OSError("no route to host"), RuntimeError("File not found or corrupted.\nmore")])
def test_a_failed_download_says_what_to_do_instead(raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", download)
    with pytest.raises(DataError, match="could not be downloaded") as error:
        open_source("fashion-mnist", val_share=0.1, seed=0)
    assert "embedded subset" in error.value.hint
    assert "more" not in error.value.what
