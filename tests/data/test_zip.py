"""Zip archives of class folders: the same images as the folder, read in place, and nothing that lies, climbs or bursts."""

import io
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allmlp.data import zipped
from allmlp.data.archive import is_archive, kind_of
from allmlp.data.images import Images, Source
from allmlp.data.loader import plain_batches
from allmlp.data.sources import open_labelled, open_parts, open_source
from allmlp.data.stream import stream, survey
from allmlp.errors import DataError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.read import UnreadableImage
from helpers import PictureFolder, attempt, picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "png")
    return file.getvalue()


def write(path: Path, files: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


FILES = {f"{name}/{i}.png": png(10 * k + i) for k, name in enumerate(("cat", "dog")) for i in range(4)}


def opened(path: Path, **options: Any) -> Source:
    return open_source(str(path), **{"val_share": 0.25, "seed": 0, **options})


def contents(images: Images) -> dict[str, bytes]:
    return {images.name(i).split(":")[1]: images.content(i) or b"" for i in range(len(images))}


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("inside", ["", "data/"])
def test_stored_and_deflated_files_are_read_in_place(how: int, inside: str, tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path / "a.zip", {f"{inside}{name}": content for name, content in FILES.items()}, how)
    part = open_parts(str(path)).train()
    assert contents(part.images) == {f"{inside}{name}": content for name, content in FILES.items()}
    assert part.images.sizes().tolist() == [len(content) for content in FILES.values()]  # type: ignore[union-attr]
    assert [part.images.head(i, 7) for i in range(8)] == [content[:7] for content in FILES.values()]
    assert not cache.exists()  # nothing is unpacked
    spec = Preprocessing(img_size=(16, 16))
    images = open_labelled(path, ("dog", "cat"), quiet=True)[0]
    shown = torch.cat([b.labels for b in plain_batches(images, spec, reading=3, batch=3, workers=2)])
    assert shown.tolist() == [1] * 4 + [0] * 4


def test_large_headers_are_read_in_part_and_then_as_a_whole(tmp_path: Path) -> None:
    file = io.BytesIO()
    picture(1, (300, 200)).save(file, "png")
    large = write(tmp_path / "a.zip", {"cat/1.png": file.getvalue(), "dog/1.png": png(2)})
    assert len(file.getvalue()) > 65536
    images = open_parts(str(large)).train().images
    assert images.open(0, 3).size == (300, 200)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a", "a.tgz"])
@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_an_archive_is_read_as_what_it_is_whatever_it_is_called(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if kind == "zip":
        write(path, FILES)
    else:
        with tarfile.open(path, "w:gz" if kind == "gz" else "w") as archive:
            for member, content in FILES.items():
                info = tarfile.TarInfo(member)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    assert kind_of(path) == kind
    assert contents(open_parts(str(path)).train().images) == FILES


@pytest.mark.parametrize(
    ("name", "begins", "said"),
    [
        ("a.tar.zst", b"\x28\xb5\x2f\xfd", "packed with zstd, which is not read"),
        ("a.tar", b"\x28\xb5\x2f\xfd", "packed with zstd"),
        ("a.rar", b"Rar!\x1a\x07\x00", "packed with rar"),
        ("a.7z", b"7z\xbc\xaf\x27\x1c", "packed with 7z"),
        ("a.zip", b"no archive", "cannot be read as a zip archive"),
        ("a.tar.gz", b"no archive", "is damaged"),
        ("a.tar", b"no archive", "cannot be read as a tar archive"),
    ],
)
def test_what_is_not_read_is_named(name: str, begins: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(begins + bytes(600))
    with pytest.raises(DataError, match=said) as error:
        opened(tmp_path / name)
    assert error.value.hint
    assert is_archive(name)


def test_names_that_climb_and_links_are_passed_over_and_leftovers_are_not_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**FILES, "../evil.png": png(1), "/etc/evil.png": png(2), "cat/../../x.png": png(3)})
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("cat/link.png")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("__MACOSX/cat/._0.png", b"fork")
        archive.writestr("cat/.DS_Store", b"x")
        archive.writestr("cat/notes.txt", b"x")
    source = opened(path)
    assert source.passed_over == {"of unsafe names": 3, "by symbolic link": 1, ".txt": 1}
    assert contents(source.train) | contents(source.val) == FILES


def test_names_as_windows_and_macos_write_them(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(2):
            archive.writestr(zipfile.ZipInfo(f"cat\\{i}.png".replace("\\", "/")), png(i))
            archive.writestr(zipfile.ZipInfo(f"caf\u00e9/{i}.png"), png(i + 5))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"cat/", b"cat\\"))
    raw = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # UTF-8 without the flag that says so
        at = raw.find(signature)
        while at >= 0:
            raw[at + flags + 1] &= ~0x08
            at = raw.find(signature, at + 1)
    path.write_bytes(bytes(raw))
    assert open_parts(str(path)).train().classes == ("café", "cat")


def edited(path: Path, name: bytes, field: int, value: int, *, size: int = 4) -> None:
    """Write a number into the central directory's record of a file."""
    raw = bytearray(path.read_bytes())
    at = raw.find(b"PK\x01\x02")
    while raw[at + 46 : at + 46 + len(name)] != name:
        at = raw.find(b"PK\x01\x02", at + 1)
    raw[at + field : at + field + size] = value.to_bytes(size, "little")
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("field", "value", "width", "said"),
    [
        (8, 1, 2, "is encrypted"),
        (10, 14, 2, "packed with lzma"),
        (24, (1 << 29) + 1, 4, "a bomb, not an image"),
        (24, (1 << 26) + 1, 4, "a bomb, not an image"),
        (24, 0xF0000000, 4, "a bomb, not images"),
        (42, 5, 4, "overlap|cannot be read"),
        (20, 1 << 28, 4, "overlap|cannot be read"),
    ],
    ids=["encrypted", "method", "large", "burst", "bomb", "overlap", "packed size"],
)
def test_archives_that_cannot_be_trusted_are_refused(field: int, value: int, width: int, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", FILES)
    edited(path, b"dog/2.png", field, value, size=width)
    with pytest.raises(DataError, match=said) as error:
        opened(path)
    assert error.value.hint


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", FILES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("./cat/1.png", png(9))
    with pytest.raises(DataError, match="two files called"):
        opened(path)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [(24, 10, "has more"), (24, 100_000, "declares 100,000 bytes"), (16, 1, "checksum")],
    ids=["more", "less", "checksum"],
)
def test_a_file_that_is_not_what_the_archive_declares_is_unreadable(field: int, value: int, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", FILES)
    edited(path, b"dog/2.png", field, value)
    entries, _ = zipped.entries(path)
    places = np.array([entry.place for entry in entries])
    images = zipped.ZippedImages([str(path)], places, [entry.name for entry in entries], [0] * 8)
    with pytest.raises(UnreadableImage, match=said):
        images.content(6)


def test_a_bomb_takes_no_more_memory_than_it_declares(tmp_path: Path) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = bomb.compress(bytes(1 << 27)) + bomb.flush()
    header = struct.pack("<4s22xHH", b"PK\x03\x04", 0, 0)
    (tmp_path / "b").write_bytes(header + packed)
    place = np.array([[0, 0, 1000, len(packed), 0, zipfile.ZIP_DEFLATED]])
    images = zipped.ZippedImages([str(tmp_path / "b")], place, ["x.png"], [0])
    with pytest.raises(UnreadableImage, match="declares 1,000 bytes, and it has more"):
        images.content(0)


@given(data=st.data())
def test_any_zip_is_read_or_refused(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.getbasetemp() / "fuzzed.zip", dict(list(FILES.items())[2:6]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.sampled_from([len(content), len(content) - 30, 900]))]))
    found, error = attempt(DataError, opened, path)
    assert error is None or error.hint
    for images in () if found is None else (found.train, found.val):
        for i in range(len(images)):
            read, unreadable = attempt(UnreadableImage, images.content, i)
            assert unreadable or len(read) == images.sizes()[i]


def test_a_zip_is_predicted_from_as_a_tar_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {**FILES, "__MACOSX/cat/._1.png": b"fork", "notes.txt": b"x"})
    assert survey([str(path)]).count == 8
    assert [each.open(3).tobytes() for each in stream([str(path)])] == [
        picture(10 * k + i).tobytes() for k in range(2) for i in range(4)
    ]


def test_hard_links_in_a_tar_are_the_images_they_lead_to(picture_folder: PictureFolder, tmp_path: Path) -> None:
    root = picture_folder({"cat": 3, "dog": 3})
    for i in range(3):
        (root / "cat" / f"linked{i}.png").hardlink_to(root / "cat" / f"{i}.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(root, ".")
        kinds = [member.islnk() for member in archive.getmembers()]
    assert sum(kinds) == 3
    part = open_parts(str(tmp_path / "a.tar")).train()
    folder = open_parts(str(root)).train()
    assert [part.images.content(i) for i in range(9)] == [folder.images.content(i) for i in range(9)]
    assert part.ignored == 0


def zipped_at(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_an_empty_zip_is_an_error_and_no_traceback(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no files in it"):
        open_parts(str(zipped_at(tmp_path / "a.zip", {})))


def test_names_with_a_drive_are_unsafe_and_counted(tmp_path: Path) -> None:
    files = {f"{name}/{place}.png": png(place) for name in ("cat", "dog") for place in range(4)}
    path = zipped_at(tmp_path / "a.zip", {**files, "C:\\cat\\9.png": png(9), "d:/9.png": png(9)})
    source = open_source(str(path), val_share=0.25, seed=0)
    assert (source.classes, source.passed_over) == (("cat", "dog"), {"of unsafe names": 2})


def test_archives_in_an_archive_are_an_error_whose_hint_can_be_followed(tmp_path: Path) -> None:
    path = zipped_at(tmp_path / "a.zip", {"train.zip": b"", "test.zip": b"", "submission.csv": b""})
    with pytest.raises(DataError, match="no class folders") as caught:
        open_parts(str(path)).train()
    assert caught.value.hint == "unpack it and give an archive that is in it, as train.zip"
