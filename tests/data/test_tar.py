"""Tar archives of class folders: the same images as the folder, and nothing that climbs out, links or lies."""

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allmlp.data import fetched
from allmlp.data.images import Source
from allmlp.data.loader import plain_batches
from allmlp.data.sources import open_labelled, open_parts, open_source
from allmlp.data.tar import members
from allmlp.errors import DataError
from allmlp.pixels.preprocess import Preprocessing
from helpers import PictureFolder, attempt, picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(path: Path, **options: Any) -> Source:
    return open_source(str(path), **{"val_share": 0.25, "seed": 0, **options})


def packed(folder: Path, path: Path, inside: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add(folder, arcname=inside or ".")
    return path


def contents(source: Source, root: str) -> list[tuple[str, int, bytes]]:
    """Name below the root, label and bytes of every training, validation and test image."""
    parts = [part for part in (source.train, source.val, source.test) if part is not None]
    return [
        (images.name(i).split(root)[1].lstrip("/:"), int(images.labels[i]), images.content(i) or b"")
        for images in parts
        for i in range(len(images))
    ]


@pytest.mark.parametrize("inside", ["", "pictures", "data/pictures"])
@pytest.mark.parametrize(
    "layout",
    [
        {"cat": 5, "dog": 4, "dog/big": 2, ".hidden": 1},
        {"train/cat": 3, "train/dog": 2, "val/dog": 1, "val/cat": 1, "test/dog": 1},
        {"cat": 4, "dog": 4, "test/cat": 1, "test/dog": 1},
    ],
    ids=["flat", "parts", "test beside"],
)
def test_an_archive_gives_the_images_of_its_folder_in_the_same_order(
    layout: dict[str, int], inside: str, picture_folder: PictureFolder, tmp_path: Path
) -> None:
    root = picture_folder(layout)
    (root / "notes.txt").touch()
    one, two = opened(root), opened(packed(root, tmp_path / "a.tar", inside))
    assert two.classes == one.classes
    assert contents(two, f"a.tar:{inside}") == contents(one, "pictures")
    assert two.title == "a"


@pytest.mark.parametrize(("suffix", "pack"), [(".tar.gz", gzip), (".tgz", gzip), (".tar.bz2", bz2), (".tar.xz", lzma)])
def test_a_compressed_archive_is_unpacked_once_into_the_cache(
    suffix: str, pack: Any, picture_folder: PictureFolder, tmp_path: Path, cache: Path
) -> None:
    plain = packed(picture_folder({"cat": 3, "dog": 3}), tmp_path / "a.tar")
    path = tmp_path / f"b{suffix}"
    path.write_bytes(pack.compress(plain.read_bytes()))
    source = opened(path)
    assert source.title == "b"
    (kept,) = (cache / "tar").iterdir()
    assert kept.read_bytes() == plain.read_bytes()
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="is damaged"):
        opened(path)
    assert list((cache / "tar").iterdir()) == [kept]


def test_unpacking_does_not_fill_the_disk(
    picture_folder: PictureFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(packed(picture_folder({"cat": 3}), tmp_path / "a.tar").read_bytes()))
    monkeypatch.setattr(fetched, "SPARE", 1 << 60)
    with pytest.raises(DataError, match="GB of disk left"):
        opened(path)


def entry(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, io.BytesIO(content)


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "png")
    return file.getvalue()


def test_what_is_no_plain_file_inside_the_archive_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("cat/1.png", "cat/2.png", "dog/1.png", "./dog/2.png"):
            archive.addfile(*entry(name, png(1)))
        for name in (
            "../../x/evil.png",
            "/etc/evil.png",
            "cat/../../evil.png",
            "cat\\..\\evil.png",
            "/".join("a" * 40) + "/e.png",
        ):
            archive.addfile(*entry(name, png(2)))
        archive.addfile(*entry("cat/link.png", type=tarfile.SYMTYPE, linkname=str(tmp_path / "secret.png")))
        archive.addfile(*entry("cat/hard.png", type=tarfile.LNKTYPE, linkname="../secret.png"))
        archive.addfile(*entry("cat/null.png", type=tarfile.CHRTYPE, devmajor=1, devminor=3))
        archive.addfile(*entry("cat/pipe.png", type=tarfile.FIFOTYPE))
    source = opened(tmp_path / "a.tar")
    names = {name for name, _, _ in contents(source, "a.tar:")}
    assert names == {"cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"}
    assert source.ignored == 9
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tar", "secret.png"]


def test_of_two_files_of_one_name_the_later_one_counts(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, number in (("cat/1.png", 1), ("cat/2.png", 2), ("dog/1.png", 3), ("./cat/1.png", 4), ("dog/2.png", 5)):
            archive.addfile(*entry(name, png(number)))
        archive.addfile(*entry("dog/1.png/x.png", png(6)))
    found = {name: content for name, _, content in contents(opened(tmp_path / "a.tar"), "a.tar:")}
    assert found["cat/1.png"] == png(4)
    assert len(found) == 4


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: b"", "empty|truncated"),
        (lambda b: b"no archive at all" * 99, "cannot be read as a tar archive"),
        (lambda b: b[:1000], "cut short|unexpected end"),
        (lambda b: b[:2048] + b"x" * 512 + b[2560:], "damaged at byte|cannot be read"),
    ],
    ids=["empty", "noise", "cut", "header overwritten"],
)
def test_a_damaged_archive_is_refused(
    spoil: Callable[[bytes], bytes], said: str, picture_folder: PictureFolder, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("cat/1.png", "dog/1.png", "dog/2.png", "dog/3.png"):
            archive.addfile(*entry(name, b"y" * 512))
    whole = (tmp_path / "a.tar").read_bytes()
    assert len(members(tmp_path / "a.tar")[0]) == 4
    (tmp_path / "a.tar").write_bytes(spoil(whole))
    with pytest.raises(DataError, match=said) as error:
        opened(tmp_path / "a.tar")
    assert error.value.hint


@given(data=st.data())
def test_any_archive_is_read_or_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.tar"
    with tarfile.open(
        path, "w", format=data.draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]))
    ) as a:
        for i in range(3):
            a.addfile(*entry("c" * data.draw(st.sampled_from([1, 120])) + f"/{i}.png", b"z" * 600))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.sampled_from([len(content), 3000, 1537, 700]))]))
    found, error = attempt(DataError, members, path)
    assert error or all(m.offset + m.size <= path.stat().st_size for m in found[0])


def test_an_archive_without_class_folders_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(*entry("1.png", png(1)))
    with pytest.raises(DataError, match=r"a\.tar has images but no class folders"):
        opened(tmp_path / "a.tar")


def test_damaged_images_in_an_archive_are_left_out_and_worker_processes_read_the_rest(
    picture_folder: PictureFolder, tmp_path: Path
) -> None:
    root = picture_folder({"cat": 4, "dog": 4})
    (root / "cat" / "bad.png").write_bytes(b"noise")
    path = packed(root, tmp_path / "a.tar")
    images, left_out = open_labelled(path, ("dog", "cat"))
    assert [reason for _, reason in left_out] == ["not a picture of a known format"]
    assert images.labels.tolist() == [1] * 4 + [0] * 4
    spec = Preprocessing(img_size=(16, 16))
    shown = torch.cat([b.labels for b in plain_batches(images, spec, reading=3, batch=3, workers=2)])
    assert shown.tolist() == images.labels.tolist()
    path.write_bytes(path.read_bytes()[:3000])
    bad = [failure for b in plain_batches(images, spec, reading=3, batch=3, workers=0) for failure in b.unreadable]
    assert ("cut short" in bad[-1][1], bad[-1][0]) == (True, images.name(7))


def test_files_that_a_later_one_of_their_name_replaces_are_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in [*(f"{name}/{place}.png" for name in ("cat", "dog") for place in range(4)), "cat/0.png"]:
            file = io.BytesIO()
            picture(len(name)).save(file, "png")
            entry = tarfile.TarInfo(name)
            entry.size = len(file.getvalue())
            archive.addfile(entry, io.BytesIO(file.getvalue()))
    source = open_source(str(tmp_path / "a.tar"), val_share=0.25, seed=0)
    assert (len(source.train) + len(source.val), source.passed_over) == (8, {"replaced by later ones of their names": 1})


def test_a_packed_file_that_is_no_archive_is_named_as_the_user_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png.gz"
    path.write_bytes(gzip.compress(b"no archive"))
    with pytest.raises(DataError, match=r"a\.png\.gz unpacks to what is no sound tar archive"):
        open_parts(str(path))
