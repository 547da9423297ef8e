"""WebDataset shards: written by anyone, on this machine or elsewhere, each sample once, with its own label."""

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

from allmlp.data.images import Images, Source
from allmlp.data.shards import expanded, has_shards, scanned
from allmlp.data.sources import located, open_labelled, open_source
from allmlp.errors import DataError
from helpers import PictureFolder, picture


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "png")
    return file.getvalue()


def shard(path: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def samples(numbers: Iterable[int], classes: int = 2) -> Iterable[tuple[str, bytes]]:
    """Sample i shows picture(i) and is of class i modulo classes."""
    for i in numbers:
        yield f"{i:04}.cls", str(i % classes).encode()
        yield f"{i:04}.png", png(i)
        yield f"{i:04}.json", json.dumps({"id": i}).encode()


def opened(spec: object, **options: Any) -> Source:
    return open_source(str(spec), **{"val_share": 0.25, "seed": 0, **options})


def numbers(images: Images | None) -> list[int]:
    """Which pictures these are, by their names, after comparing the pixels."""
    assert images is not None
    found = [int(images.name(i).rsplit("/", 1)[-1].rsplit(":", 1)[-1].split(".")[0]) for i in range(len(images))]
    assert all(images.open(i, 3).tobytes() == picture(n).tobytes() for i, n in enumerate(found))
    return found


def test_a_folder_of_shards_is_one_data_set(tmp_path: Path) -> None:
    for k in range(3):
        shard(tmp_path / "set" / f"shard-{k:06}.tar", samples(range(8 * k, 8 * k + 8)))
    source = opened(tmp_path / "set")
    assert (source.title, source.classes) == ("set", ("0", "1"))
    assert sorted(numbers(source.train) + numbers(source.val)) == list(range(24))
    assert all(n % 2 == label for n, label in zip(numbers(source.train), source.train.labels, strict=True))
    assert (source.train.counts(2), source.val.counts(2)) == ([9, 9], [3, 3])


@pytest.mark.parametrize("named", ["{part}-000000.tar", "{part}/000000.tar", "{part}_0.tar"])
def test_parts_are_told_by_the_names_of_shards_or_their_folders(named: str, tmp_path: Path) -> None:
    for part, span in (("train", range(10)), ("validation", range(10, 14)), ("test", range(14, 19))):
        shard(tmp_path / "set" / named.format(part=part), samples(span))
    source = opened(tmp_path / "set")
    assert numbers(source.train) == list(range(10))
    assert numbers(source.val) == list(range(10, 14))
    assert numbers(source.test) == list(range(14, 19))
    assert numbers(open_labelled(tmp_path / "set", ("1", "0"))[0]) == list(range(14, 19))
    assert open_labelled(tmp_path / "set", ("1", "0"))[0].labels.tolist() == [1, 0, 1, 0, 1]


def test_a_pattern_names_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(12):
        shard(tmp_path / f"a-{k:03}.tar", samples(range(2 * k, 2 * k + 2)))
    monkeypatch.chdir(tmp_path)
    source = opened("a-{002..010}.tar")
    assert sorted(numbers(source.train) + numbers(source.val)) == list(range(4, 22))
    assert source.title == "a"
    assert located("a-{002..010}.tar") == str(tmp_path / "a-{002..010}.tar")
    with pytest.raises(DataError, match=r"a-012\.tar is missing \(2 of 3 shards"):
        opened("a-{011..013}.tar")


def test_patterns_expand_as_in_a_shell() -> None:
    assert expanded("x-{08..11}.tar") == ["x-08.tar", "x-09.tar", "x-10.tar", "x-11.tar"]
    assert expanded("{a,b}/{0..1}") == ["a/0", "a/1", "b/0", "b/1"]
    assert expanded("plain") == ["plain"]
    for wrong in ("{}", "{1}", "{3..1}", "{0..99999999}"):
        with pytest.raises(DataError, match="is no pattern"):
            expanded(wrong)


def test_one_archive_is_taken_for_what_it_holds(tmp_path: Path, picture_folder: PictureFolder) -> None:
    assert opened(shard(tmp_path / "one.tar", samples(range(8)))).classes == ("0", "1")
    files = [(f"{name}/{i}.png", png(i)) for name in ("cat", "dog") for i in range(4)]
    assert opened(shard(tmp_path / "two.tar", files)).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        (lambda i: ("cls", str(i % 3 * 5)), ("0", "5", "10")),
        (lambda i: ("cls", ["cat", "dog", "owl"][i % 3] + "\n"), ("cat", "dog", "owl")),
        (lambda i: ("json", json.dumps({"label": i % 3})), ("0", "1", "2")),
        (lambda i: ("json", json.dumps({"class": f"c{i % 3}", "id": 7})), ("c0", "c1", "c2")),
    ],
    ids=["numbers", "names", "json numbers", "json names"],
)
def test_labels_are_numbers_or_names_in_cls_or_json(label: Any, classes: tuple[str, ...], tmp_path: Path) -> None:
    files = []
    for i in range(12):
        kind, text = label(i)
        files += [(f"{i:04}.{kind}", text.encode()), (f"{i:04}.png", png(i))]
    source = opened(shard(tmp_path / "set" / "a.tar", files).parent)
    assert source.classes == classes
    assert all(source.train.labels[k] == n % 3 for k, n in enumerate(numbers(source.train)))


def test_a_file_beside_the_shards_names_numbered_classes(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "a.tar", samples(range(8)))
    (tmp_path / "set" / "classnames.txt").write_text("tench\ngoldfish\n")
    assert opened(tmp_path / "set").classes == ("tench", "goldfish")
    (tmp_path / "set" / "classnames.txt").write_text("too few\n")
    assert opened(tmp_path / "set").classes == ("0", "1")


def test_archives_of_class_folders_side_by_side_are_one_data_set(tmp_path: Path) -> None:
    for k, name in enumerate(("train-0", "train-1", "test")):
        files = [(f"{label}/{4 * k + i}.{i}.png", png(4 * k + i)) for i, label in enumerate(("cat", "cat", "dog", "dog"))]
        shard(tmp_path / "set" / f"{name}.tar", files)
    source = opened(tmp_path / "set", val_share=0.5)
    assert source.classes == ("cat", "dog")
    assert sorted(numbers(source.train) + numbers(source.val)) == list(range(8))
    assert numbers(source.test) == [8, 9, 10, 11]


def test_samples_without_picture_or_label_are_left_aside(tmp_path: Path) -> None:
    files = [("1.png", png(1)), ("2.cls", b"1"), ("3.cls", b" "), ("3.png", png(3)), ("4.json", b"[1]"), ("4.jpg", b"x")]
    files += [("5.cls", b"1"), ("5.left.png", png(5)), ("5.right.png", png(6)), ("6.json", b"{" * 9), ("6.png", png(6))]
    found = scanned(shard(tmp_path / "a.tar", files))
    assert (found.names, found.labels) == (["5.left.png"], ["1"])
    with pytest.raises(DataError, match=r"\(train\) has no labelled pictures") as error:
        opened(shard(tmp_path / "set" / "b.tar", files[:3]).parent)
    assert ".cls" in error.value.hint


def test_shards_without_a_part_for_training_are_judged_and_not_trained_on(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "val-0.tar", samples(range(6)))
    with pytest.raises(DataError, match="has no images for training"):
        opened(tmp_path / "set")
    assert numbers(open_labelled(tmp_path / "set", ("0", "1"))[0]) == list(range(6))


def test_class_folders_beside_an_archive_are_what_counts(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 4, "dog": 4})
    shard(root / "backup.tar", samples(range(4)))
    assert not has_shards(root)
    assert opened(root).classes == ("cat", "dog")


def test_pickles_in_shards_are_not_opened(tmp_path: Path) -> None:
    files = [*samples(range(8)), ("0000.pyd", b"cos\nsystem\n(S'touch /tmp/x'\ntR."), ("0001.pth", b"\x80\x04.")]
    source = opened(shard(tmp_path / "set" / "a.tar", files).parent)
    assert len(source.train) + len(source.val) == 8


def test_what_was_found_in_a_shard_is_kept_until_it_changes(tmp_path: Path, cache: Path) -> None:
    path = shard(tmp_path / "set" / "a.tar", samples(range(8)))
    opened(path.parent)
    (kept,) = (cache / "shards").iterdir()
    content = json.loads(kept.read_text())
    content["labels"] = ["7", "8"] * 4
    kept.write_text(json.dumps(content))
    assert opened(path.parent).classes == ("7", "8")
    shard(path, samples(range(10)))
    assert opened(path.parent).classes == ("0", "1")


@pytest.fixture
def bucket() -> Iterator[str]:
    """An address in memory; everything there is removed afterwards."""
    yield "memory://bucket"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def upload(folder: Path, address: str) -> None:
    for path in folder.rglob("*.*"):
        with fsspec.open(f"{address}/{path.relative_to(folder).as_posix()}", "wb") as file:
            file.write(path.read_bytes())


@pytest.mark.parametrize("spec", ["memory://bucket/set", "memory://bucket/set/", "memory://bucket/set/s-{0..2}.tar"])
def test_shards_at_an_address_are_fetched_once(spec: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(3):
        shard(tmp_path / "set" / f"s-{k}.tar", samples(range(4 * k, 4 * k + 4)))
    upload(tmp_path, bucket)
    source = opened(spec)
    assert sorted(numbers(source.train) + numbers(source.val)) == list(range(12))
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", None)
    assert numbers(opened(spec).train) == numbers(source.train)
    assert located(spec) == spec


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("memory://bucket/none", "has no shards"),
        ("memory://bucket/none-{0..1}.tar", "FileNotFoundError"),
        ("nosuch://bucket/set", "cannot be fetched: ValueError"),
        ("s3://bucket/set", "needs a library"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused_with_a_hint(spec: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(DataError, match=said) as error:
        opened(spec)
    assert error.value.hint


def test_fetching_leaves_room_on_the_disk(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(shard(tmp_path / "set" / "a.tar", samples(range(4))).parent, bucket)
    monkeypatch.setattr("allmlp.data.fetched.SPARE", 1 << 60)
    with pytest.raises(DataError, match="GB of disk left"):
        opened(bucket)


def test_a_training_run_goes_through_shards_of_photographs(tmp_path: Path) -> None:
    import allmlp

    files = []
    for i in range(24):
        file = io.BytesIO()
        Image.new("RGB", (80 + i, 70), (200, 30, 30) if i % 2 else (30, 30, 200)).save(file, "jpeg")
        files += [(f"{i}.cls", str(i % 2).encode()), (f"{i}.jpg", file.getvalue())]
    shard(tmp_path / "set" / "a.tar", files)
    run = allmlp.train(
        tmp_path / "set",
        out=tmp_path / "run",
        quiet=True,
        model="resmlp_xs",
        hyper={"dim": 8, "depth": 1},
        **{"train.epochs": 1, "train.batch": 8, "data.workers": 2, "data.img_size": (72, 72)},
    )
    assert allmlp.evaluate(run, tmp_path / "set")["images"] == 24
