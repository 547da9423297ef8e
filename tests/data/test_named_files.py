"""Shards and tables whose names and folders tell their splits, in whatever wording, among what systems leave behind."""

import io
import tarfile
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from allmlp.data.images import Images, Source
from allmlp.data.sources import open_source
from helpers import picture

CAFE = {form: unicodedata.normalize(form, "café") for form in ("NFC", "NFD")}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "png")
    return file.getvalue()


def opened(spec: Path, **options: Any) -> Source:
    return open_source(str(spec), **{"val_share": 0.25, "seed": 0, **options})


def numbers(images: Images | None) -> list[int]:
    assert images is not None
    known = {png(i): i for i in range(40)}
    return sorted(known[images.content(i) or b""] for i in range(len(images)))


def shard(path: Path, span: range, classes: tuple[str, str] = ("cat", "dog"), **others: bytes) -> Path:
    """Samples whose classes are named in .cls files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:

        def add(name: str, content: bytes) -> None:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))

        for i in span:
            add(f"{i:04}.png", png(i))
            add(f"{i:04}.cls", classes[i % 2].encode())
            for ending, content in others.items():
                add(f"{i:04}.{ending}", content)
        add("__MACOSX/._0000.png", b"fork")
        add("._0000.png", b"fork")
    return path


def table(path: Path, span: range, classes: tuple[str, str] = ("cat", "dog")) -> Path:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [classes[i % 2] for i in span]
    parquet.write_table(arrow.table({"image": [{"bytes": png(i), "path": None} for i in span], "label": labels}), path)
    return path


NAMES = [
    ("Train-000000", "VAL-000000", "Testing-000000"),
    ("TRAIN/0", "Valid/0", "TEST/0"),
    ("pets_train_0", "pets_validation_0", "pets_test_0"),
    ("training-0", "dev-0", "test-0"),
]


@pytest.mark.parametrize("names", NAMES, ids=str)
@pytest.mark.parametrize(("write", "suffix"), [(shard, ".tar"), (shard, ".TAR"), (table, ".parquet"), (table, ".PARQUET")])
def test_names_and_folders_tell_the_splits(names: tuple[str, str, str], write: Any, suffix: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    spans = (range(8), range(8, 12), range(12, 18))
    for name, span in zip(names, spans, strict=True):
        write(root / f"{name}{suffix}", span)
    (root / f"._{names[0].replace('/', '-')}{suffix}").write_bytes(b"fork")
    (root / "__MACOSX").mkdir()
    source = opened(root)
    assert source.classes == ("cat", "dog")
    assert [numbers(images) for images in (source.train, source.val, source.test)] == [list(span) for span in spans]


@pytest.mark.parametrize(("write", "suffix"), [(shard, ".tar"), (table, ".parquet")])
def test_one_name_in_two_forms_is_one_class(write: Any, suffix: str, tmp_path: Path) -> None:
    write(tmp_path / "set" / f"train-0{suffix}", range(6), ("dog", CAFE["NFD"]))
    write(tmp_path / "set" / f"train-1{suffix}", range(6, 12), ("dog", CAFE["NFC"]))
    write(tmp_path / "set" / f"val-0{suffix}", range(12, 16), ("dog", CAFE["NFC"]))
    source = opened(tmp_path / "set")
    assert source.classes == (CAFE["NFC"], "dog")
    assert (source.train.counts(2), source.val.counts(2)) == ([6, 6], [2, 2])


def test_what_shards_hold_besides_is_said_with_its_endings(tmp_path: Path) -> None:
    source = opened(shard(tmp_path / "set" / "train-0.tar", range(8), txt=b"a caption", heic=b"x").parent)
    assert source.passed_over == {".txt": 8, ".heic": 8}
    again = opened(tmp_path / "set")  # from what was kept of the first look
    assert again.passed_over == source.passed_over


def test_a_table_of_images_beside_the_pictures_of_its_readme_is_read(tmp_path: Path) -> None:
    root = table(tmp_path / "set" / "data" / "train-0.parquet", range(8)).parents[1]
    (root / "assets").mkdir()
    picture(1).save(root / "assets" / "logo.png")
    assert numbers(opened(root).train) + numbers(opened(root).val) != []
    assert opened(root).classes == ("cat", "dog")


def test_a_shard_with_copies_in_the_validation_shard_is_told(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "train-0.tar", range(8))
    shard(tmp_path / "set" / "val-0.tar", range(6, 12))
    source = opened(tmp_path / "set")
    assert source.duplicates is not None
    assert source.duplicates.held_out == 2
    assert numbers(opened(tmp_path / "set", drop_duplicates=True).train) == list(range(6))
