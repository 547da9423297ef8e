"""Packed shards give back the data set they were made from, and are finished after any interruption."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from allmlp.cli import main
from allmlp.data import index
from allmlp.data.images import Images, Source
from allmlp.data.index import checksum, read_index
from allmlp.data.pack import pack
from allmlp.data.shards import scanned
from allmlp.data.sources import open_parts, open_source
from allmlp.errors import DataError
from helpers import PictureFolder, attempt, picture
from tiffs import picture_of, tiff


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def opened(path: Path) -> Source:
    return open_source(str(path), val_share=0.25, seed=0)


def packed(folder: Path, out: Path, **options: Any) -> Path:
    pack(open_parts(str(folder)), out, **{"shards": 3, "size": None, **options})
    return out


def shown(images: Images | None) -> list[tuple[str, int, bytes]]:
    """The class's and file's name, label and pixels of each image, in order."""
    assert images is not None
    return [
        ("/".join(images.name(i).replace(":", "/").split("/")[-2:]), int(images.labels[i]), images.open(i, 3).tobytes())
        for i in range(len(images))
    ]


@pytest.mark.parametrize(
    "layout",
    [{"cat": 9, "dog": 6}, {"train/cat": 6, "train/dog": 5, "val/dog": 2, "val/cat": 3, "test/dog": 1}],
    ids=["flat", "parts"],
)
def test_a_packed_set_has_the_same_images_in_the_same_order_with_the_same_split(
    layout: dict[str, int], picture_folder: PictureFolder, tmp_path: Path
) -> None:
    folder = picture_folder(layout)
    one, two = opened(folder), opened(packed(folder, tmp_path / "out"))
    assert two.classes == one.classes
    for part in ("train", "val"):
        assert [row[1:] for row in shown(getattr(two, part))] == [row[1:] for row in shown(getattr(one, part))], part
        assert [row[0] for row in shown(getattr(two, part))] == [row[0] for row in shown(getattr(one, part))], part
    if one.test is not None:
        assert shown(two.test) == [(name, label, pixels) for name, label, pixels in shown(one.test)]


def test_files_of_the_common_formats_stay_bit_for_bit_and_larger_ones_are_resized(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    sizes = {"a.jpg": (40, 30), "b.png": (30, 60), "c.webp": (20, 20), "d.bmp": (30, 31), "e.jpg": (64, 48), "f.png": (90, 31)}
    for label in ("cat", "dog"):
        (folder / label).mkdir(parents=True)
        for number, (name, size) in enumerate(sizes.items()):
            picture(number, size, "L" if name == "f.png" else "RGB").save(folder / label / name)
    source = open_parts(str(packed(folder, tmp_path / "out", size=30))).train()
    assert source.classes == ("cat", "dog")
    for i in range(len(source.images)):
        name = source.images.name(i).split(":")[-1]
        content, image = source.images.content(i), source.images.open(i, 3)
        assert content is not None
        if name.split("/")[-1] in ("a.jpg", "b.png", "c.webp"):
            assert content == (folder / name).read_bytes()
        elif name.endswith("d.bmp"):
            assert (Image.open(io.BytesIO(content)).format, image.size) == ("JPEG", (30, 31)) or image.size == (30, 31)
            assert image.tobytes() == picture(3, (30, 31)).tobytes()
        else:
            assert Image.open(io.BytesIO(content)).format == "JPEG"
            assert image.size == {"e": (40, 30), "f": (87, 30)}[name.split("/")[-1][0]]
    grey = next(i for i in range(12) if source.images.name(i).endswith("f.png"))
    assert Image.open(io.BytesIO(source.images.content(grey) or b"")).mode == "L"


def test_any_reader_of_webdataset_shards_finds_samples_in_them(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = packed(picture_folder({"cat": 5, "dog": 4}), tmp_path / "out", shards=2)
    names = []
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            assert [m.name.split(".")[1] for m in members] == ["png", "cls", "json"] * (len(members) // 3)
            for image, label, about in zip(members[::3], members[1::3], members[2::3], strict=True):
                assert image.name.split(".")[0] == label.name.split(".")[0] == about.name.split(".")[0]
                told = json.loads(archive.extractfile(about).read())  # type: ignore[union-attr]
                assert int(archive.extractfile(label).read()) == told["label"] == ["cat", "dog"].index(told["class"])  # type: ignore[union-attr]
                names.append(told["name"])
    assert sorted(names) == [f"cat/{i}.png" for i in range(5)] + [f"dog/{i}.png" for i in range(4)]
    assert sorted(label for path in out.glob("*.tar") for label in scanned(path).labels) == ["0"] * 5 + ["1"] * 4


def test_the_index_says_what_lies_where(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = packed(picture_folder({"train/cat": 7, "train/dog": 5, "val/cat": 1, "val/dog": 1}), tmp_path / "out", shards=2)
    table = json.loads((out / "index.json").read_text())
    assert (table["format"], table["classes"], table["title"], table["size"]) == (1, ["cat", "dog"], "pictures", None)
    assert table["parts"] == {"train": {"images": 12, "per_class": [7, 5]}, "val": {"images": 2, "per_class": [1, 1]}}
    assert [shard["file"] for shard in table["shards"]] == ["train-000000.tar", "train-000001.tar", "val-000000.tar"]
    for shard in table["shards"]:
        content = (out / shard["file"]).read_bytes()
        assert (len(content), checksum(out / shard["file"])) == (shard["bytes"], shard["sha256"])
        for offset, length in zip(shard["offsets"], shard["lengths"], strict=True):
            assert content[offset : offset + 4] == b"\x89PNG"
            assert content[offset : offset + length].endswith(b"IEND\xaeB`\x82")
    assert sorted(p.name for p in out.iterdir()) == ["index.json", *(shard["file"] for shard in table["shards"])]


def test_packing_twice_gives_the_same_bytes_and_keeps_what_is_finished(picture_folder: PictureFolder, tmp_path: Path) -> None:
    folder = picture_folder({"cat": 8, "dog": 8})
    one, two = packed(folder, tmp_path / "one", size=10), packed(folder, tmp_path / "two", size=10)
    before = {path.name: (path.read_bytes(), path.stat().st_ino) for path in one.iterdir()}
    assert {name: content for name, (content, _) in before.items()} == {p.name: p.read_bytes() for p in two.iterdir()}
    (one / "train-000001.tar").write_bytes(b"damaged")
    (one / "train-000002.tar").unlink()
    packed(folder, one, size=10)
    assert {p.name: p.read_bytes() for p in one.iterdir()} == {name: content for name, (content, _) in before.items()}
    assert (one / "train-000000.tar").stat().st_ino == before["train-000000.tar"][1]  # not written again


@pytest.mark.slow
def test_killed_packing_goes_on_where_it_was(picture_folder: PictureFolder, tmp_path: Path) -> None:
    folder = picture_folder({"cat": 1})
    generator = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(exist_ok=True)
        for i in range(120):
            Image.fromarray(generator.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    out, words = tmp_path / "out", ["pack", str(folder), "--shards", "40", "--size", "200", "--quiet"]
    program = subprocess.Popen([sys.executable, "-m", "allmlp", *words, "--out", str(out)], env=os.environ)
    while len(list(out.glob("[!.]*.tar")) if out.is_dir() else []) < 3 and program.poll() is None:
        time.sleep(0.01)
    program.send_signal(signal.SIGKILL)
    program.wait()
    finished = {p.name: p.stat().st_ino for p in out.glob("[!.]*.tar")}
    assert 3 <= len(finished) < 40
    assert not (out / "index.json").exists()
    assert main([*words, "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["index.json", *(f"train-{k:06}.tar" for k in range(40))]
    assert sum((out / name).stat().st_ino == node for name, node in finished.items()) >= len(finished) - 1
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    assert {p.name: p.read_bytes() for p in out.iterdir()} == {p.name: p.read_bytes() for p in (tmp_path / "whole").iterdir()}


@pytest.mark.parametrize("other", ["size", "images", "files", "shards"])
def test_a_folder_with_something_else_in_it_is_refused(other: str, picture_folder: PictureFolder, tmp_path: Path) -> None:
    folder = picture_folder({"cat": 4, "dog": 4})
    out, options = packed(folder, tmp_path / "out"), {}
    if other == "size":
        options = {"size": 12}
    elif other == "shards":
        options = {"shards": 2}
    elif other == "images":
        picture(99).save(folder / "cat" / "99.png")
    else:
        (out / "thesis.docx").touch()
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(DataError, match=r"out (has other files|holds other images)") as error:
        packed(folder, out, **options)
    assert "--out" in error.value.hint
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_unreadable_images_are_left_out_listed_and_refused_above_a_share(picture_folder: PictureFolder, tmp_path: Path) -> None:
    folder = picture_folder({"cat": 10, "dog": 10})
    (folder / "cat" / "bad.png").write_bytes(b"noise")
    cut = folder / "dog" / "3.png"
    cut.write_bytes(cut.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"2 images \(9\.5%\) cannot be read") as error:
        packed(folder, tmp_path / "out")
    assert "--max-bad-share 0.1" in error.value.hint
    made = read_index((packed(folder, tmp_path / "out", max_bad_share=0.1) / "index.json").read_bytes(), "")
    assert [Path(path).name for path, _ in made.unreadable] == ["bad.png", "3.png"]
    assert made.counts()["train"]["per_class"] == [10, 9]
    assert opened(tmp_path / "out").bad_share == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "reads up to 1"),
        ({"format": None}, "is no index"),
        ({"classes": ["cat", "cat"]}, "make no sense"),
        ({"classes": ["cat"]}, "labels without a class"),
        ({"shards": [7]}, "cannot be used"),
        ({"shards.file": "../train-000000.tar"}, "is no shard"),
        ({"shards.file": "/etc/passwd"}, "is no shard"),
        ({"shards.offsets": [-1] * 8}, "negative numbers"),
        ({"shards.lengths": [10**9] * 8}, "shorter than its samples"),
        ({"shards.names": ["a"]}, "differ in length"),
        ({"shards.labels": ["0"] * 8}, "no list of its kind"),
        ({"shards.part": "rest"}, "is no shard"),
        ({"shards.bytes": "many"}, "not of its kind"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(
    change: dict[str, Any], said: str, picture_folder: PictureFolder, tmp_path: Path
) -> None:
    out = packed(picture_folder({"cat": 4, "dog": 4}), tmp_path / "out", shards=1)
    table = json.loads((out / "index.json").read_text())
    for key, value in change.items():
        group, dot, name = key.partition(".")
        (table[group][0] if dot else table)[name or group] = value
    (out / "index.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match=said) as error:
        opened(out)
    assert error.value.hint


@given(
    content=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda x: st.lists(x) | st.dictionaries(st.sampled_from(["format", "shards", "classes", "title", "size"]), x),
        ).map(lambda v: json.dumps(v).encode()),
    )
)
def test_any_index_is_read_or_refused(content: bytes) -> None:
    made, error = attempt(DataError, read_index, content, "index.json")
    assert error.hint if error else isinstance(made, index.Index)


def test_a_shard_that_was_changed_after_packing_is_refused(picture_folder: PictureFolder, tmp_path: Path) -> None:
    out = packed(picture_folder({"cat": 4, "dog": 4}), tmp_path / "out", shards=1)
    path = out / "train-000000.tar"
    path.write_bytes(path.read_bytes() + b"\0" * 512)
    with pytest.raises(DataError, match="and its index says"):
        opened(out)


def test_a_folder_that_has_lost_a_shard_of_its_index_is_refused_and_a_pattern_of_the_rest_is_not(
    picture_folder: PictureFolder, tmp_path: Path
) -> None:
    out = packed(picture_folder({"cat": 9, "dog": 9}), tmp_path / "out", shards=3)
    (out / "train-000002.tar").unlink()
    with pytest.raises(DataError, match=r"has no train-000002\.tar, which its index names \(1 of 3 are missing\)") as error:
        opened(out)
    assert "pattern" in error.value.hint
    source = open_source(f"{out}/train-{{000000..000001}}.tar", val_share=0.25, seed=0)
    assert len(source.train) + len(source.val) == 12


def test_the_command_packs_and_says_what_to_do_next(
    picture_folder: PictureFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = picture_folder({"cat": 6, "dog": 6})
    assert main(["pack", str(folder), "--shards", "2", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["images"] == {"train": 12}
    assert json.loads(told.out)["out"] == "pictures-shards"
    assert "allmlp train pictures-shards" in told.err
    assert opened(tmp_path / "pictures-shards").title == "pictures-shards"
    for words in (["--shards", "0"], ["--size", "0"]):
        assert main(["pack", str(folder), *words]) == 2


def test_images_that_are_no_files_are_packed_as_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from allmlp.data.fashion import embedded
    from allmlp.data.parts import Part, Parts

    images = embedded().val.subset(np.arange(0, 1000, 9))
    parts = Parts(title="tiny", train=lambda: Part(place="here", classes=embedded().classes, images=images))
    pack(parts, tmp_path / "out", shards=2, size=256)
    made = open_parts(str(tmp_path / "out")).train()
    assert made.classes == embedded().classes
    assert made.images.labels.tolist() == images.labels.tolist()
    assert all(made.images.open(i, 1).tobytes() == images.open(i, 1).tobytes() for i in range(len(images)))


def test_deep_images_keep_their_depth_and_their_size(tmp_path: Path) -> None:
    values = {name: picture_of(seed, (40, 30), "uint16") for seed, name in enumerate("ab")}
    for name, pixels in values.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "deep.tif").write_bytes(tiff(pixels))
        Image.fromarray(pixels).save(tmp_path / "images" / name / "deep.png")
        (tmp_path / "images" / name / "float.tif").write_bytes(tiff(pixels.astype(np.float32)))
        (tmp_path / "images" / name / "eight.tif").write_bytes(tiff(pixels.astype(np.uint8)))
    whole = open_parts(str(tmp_path / "images")).train().images
    again = open_parts(str(packed(tmp_path / "images", tmp_path / "shards", size=16))).train().images
    kept = {again.name(i).rsplit("/", 1)[-1]: again.content(i) for i in range(len(again))}
    assert len(kept) == 4
    for i in range(len(whole)):
        name = whole.name(i).rsplit("/", 1)[-1]
        same = whole.content(i) in [again.content(j) for j in range(len(again))]
        assert same == (name != "eight.tif")
