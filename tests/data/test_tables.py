"""Tables of pictures: parquet files and Hugging Face datasets, in the layouts that people publish."""

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from allmlp.data.columns import classes_and_labels, columns_of
from allmlp.data.images import Images, Source
from allmlp.data.loader import plain_batches
from allmlp.data.sources import located, open_labelled, open_source
from allmlp.errors import DataError
from allmlp.pixels.preprocess import Preprocessing
from helpers import picture

SPEC = Preprocessing(img_size=(16, 16))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def png(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "png")
    return file.getvalue()


def opened(spec: object, **options: Any) -> Source:
    return open_source(str(spec), **{"val_share": 0.25, "seed": 0, **options})


def numbers(images: Images | None) -> list[int]:
    """Which pictures these are, by their pixels."""
    assert images is not None
    known = {picture(i).tobytes(): i for i in range(40)}
    return [known[images.open(i, 3).tobytes()] for i in range(len(images))]


FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def write(
    path: Path, span: range, *, features: Any = FEATURES, image: str = "image", label: Any = None, plain: bool = False
) -> Path:
    """A parquet file in which row i shows picture(i) and is of class i modulo 2."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [png(i) if plain else {"bytes": png(i), "path": f"{i}.png"} for i in span]
    labels = [label(i) if label else i % 2 for i in span]
    table = arrow.table({image: pictures, "label": labels, "id": list(span)})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    parquet.write_table(table, path, row_group_size=3)
    return path


def test_parquet_files_are_one_data_set_with_named_classes(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "data" / "train-00000-of-00002.parquet", range(0, 8))
    write(root / "data" / "train-00001-of-00002.parquet", range(8, 15))
    write(root / "data" / "validation-00000-of-00001.parquet", range(15, 19))
    write(root / "data" / "test-00000-of-00001.parquet", range(19, 24))
    source = opened(root)
    assert (source.title, source.classes) == ("set", ("cat", "dog"))
    assert numbers(source.train) == list(range(15))
    assert numbers(source.val) == list(range(15, 19))
    assert source.test is not None
    assert source.test.labels.tolist() == [1, 0, 1, 0, 1]
    assert source.train.name(9) == "train-00001-of-00002.parquet:row 1"
    assert numbers(open_labelled(root, ("cat", "dog"))[0]) == list(range(19, 24))


def test_one_parquet_file_is_split(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "pets.parquet", range(16)))
    assert source.title == "pets"
    assert sorted(numbers(source.train) + numbers(source.val)) == list(range(16))
    assert all(n % 2 == label for n, label in zip(numbers(source.train), source.train.labels, strict=True))


@pytest.mark.parametrize(
    ("options", "classes"),
    [
        ({"features": None}, ("0", "1")),
        ({"features": None, "plain": True, "image": "img"}, ("0", "1")),
        ({"features": None, "label": lambda i: ["owl", "ant"][i % 2]}, ("ant", "owl")),
        ({"features": {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}}}, ("0", "1")),
        ({"features": {"elsewhere": {"_type": "Image"}}}, ("0", "1")),
        ({"features": "nonsense"}, ("0", "1")),
    ],
    ids=["guessed", "bytes alone", "text labels", "no names", "features of another table", "nonsense"],
)
def test_columns_are_found_with_and_without_notes(options: Any, classes: tuple[str, ...], tmp_path: Path) -> None:
    assert opened(write(tmp_path / "a.parquet", range(8), **options)).classes == classes


def test_rows_without_a_label_are_left_aside_and_without_a_picture_are_unreadable(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    pictures = [{"bytes": png(i), "path": None} for i in range(10)]
    pictures[4], pictures[5] = None, {"bytes": None, "path": "lost.png"}
    table = arrow.table({"image": pictures, "label": [0, 1, None, -1, 0, 1, 0, 1, 0, 1]})
    parquet.write_table(table, tmp_path / "a.parquet")
    source = opened(tmp_path / "a.parquet")
    assert source.ignored == 2
    assert [(name.split(":")[1], reason) for name, reason in source.left_out] == [
        ("row 4", "the file is empty"),
        ("row 5", "the file is empty"),
    ]
    assert sorted(numbers(source.train) + numbers(source.val)) == [0, 1, 6, 7, 8, 9]


def test_pictures_are_copied_out_once_and_read_in_worker_processes(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", range(9))
    first = opened(path)
    monkeypatch.setattr("allmlp.data.parquet._write", None)
    again = opened(path)
    assert numbers(again.train) == numbers(first.train)
    shown = [b.indices.tolist() for b in plain_batches(again.train, SPEC, reading=3, batch=2, workers=2)]
    assert [i for batch in shown for i in batch] == list(range(len(again.train)))
    monkeypatch.undo()
    monkeypatch.setenv("ALLMLP_CACHE", str(cache))
    for blob in (cache / "parquet").glob("*.bin"):
        blob.unlink()
    assert numbers(opened(path).train) == numbers(first.train)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: p.write_bytes(b"PAR1 no"), "cannot be read as parquet"),
        (lambda p: p.write_bytes(p.read_bytes()[:-40]), "cannot be read as parquet"),
        (lambda p: write(p, range(4), label=lambda i: i + 3), "labels outside its 2 classes"),
    ],
    ids=["noise", "cut", "labels"],
)
def test_a_parquet_file_that_cannot_be_used_is_refused(spoil: Any, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", range(8))
    spoil(path)
    with pytest.raises(DataError, match=said) as error:
        opened(path)
    assert error.value.hint


def test_columns_are_those_named_as_expected_where_there_are_several() -> None:
    found = columns_of(
        {
            "mask": {"_type": "Image"},
            "image": {"_type": "Image"},
            "coarse_label": {"_type": "ClassLabel", "names": ["a"]},
            "fine_label": {"_type": "ClassLabel", "names": ["x", "y"]},
        },
        "a.parquet",
    )
    assert (found.image, found.label, found.classes) == ("image", "fine_label", ("x", "y"))
    for features in ({"image": {"_type": "Image"}}, {"label": {"_type": "ClassLabel"}}, {"a": [], "b": None}):
        with pytest.raises(DataError, match="has no column of"):
            columns_of(features, "a.parquet")


def test_classes_without_an_image_are_left_away() -> None:
    classes, labels = classes_and_labels([2, 0, None, 2], ("a", "b", "c"), "x")
    assert (classes, labels.tolist()) == (("a", "c"), [1, 0, -1, 1])


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    for module, spec, extra in (("pyarrow", tmp_path / "a.parquet", "parquet"), ("datasets", "hf:cifar10", "hub")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(DataError, match=f"needs the library {module}") as error:
            opened(spec)
        assert error.value.hint == f"pip install 'allmlp[{extra}]'"


class Rows:
    """As much of a Hugging Face table as is used of one."""

    def __init__(self, span: range, column: str = "img") -> None:
        self.span, self.column = span, column
        table = {column: {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
        self.features = SimpleNamespace(to_dict=lambda: table)

    def __getitem__(self, key: str | int) -> Any:
        return (
            [i % 2 for i in self.span] if key == "label" else {self.column: {"bytes": png(self.span[int(key)]), "path": None}}
        )

    def select_columns(self, names: list[str]) -> "Rows":
        assert names == [self.column]
        return self

    def cast_column(self, name: str, kind: Any) -> "Rows":
        assert (name, kind) == (self.column, "as bytes")
        return self


def library(load: Any) -> Any:
    return SimpleNamespace(load_dataset=load, Image=lambda decode: "as bytes" if not decode else "decoded")


def test_a_hub_data_set_is_opened_by_its_name_and_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load(name: str, configuration: str | None) -> Any:
        asked.append((name, configuration))
        return {
            "train": Rows(range(12)),
            "validation": Rows(range(12, 16)),
            "test": Rows(range(16, 20)),
            "extra": Rows(range(0)),
        }

    monkeypatch.setitem(sys.modules, "datasets", library(load))
    source = opened("hf:someone/pets:small")
    assert asked == [("someone/pets", "small")]
    assert (source.title, source.classes) == ("pets", ("cat", "dog"))
    assert numbers(source.train) == list(range(12))
    assert numbers(source.val) == list(range(12, 16))
    assert numbers(source.test) == list(range(16, 20))
    assert source.train.name(3) == "hf:someone/pets:small (train)#3"
    part = source.train.subset(np.array([5, 2]))
    assert (numbers(part), part.labels.tolist()) == ([5, 2], [1, 0])
    assert located("hf:someone/pets") == "hf:someone/pets"


def test_a_hub_data_set_that_cannot_be_opened_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any) -> Any:
        raise ConnectionError("Couldn't reach the Hub\nmore")

    monkeypatch.setitem(sys.modules, "datasets", library(load))
    with pytest.raises(DataError, match="hf:pets cannot be opened: ConnectionError: Couldn't reach the Hub") as error:
        opened("hf:pets")
    assert "network" in error.value.hint
    assert "more" not in error.value.what


def test_the_librarys_own_tables_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": png(i), "path": None} for i in range(12)], "label": [i % 2 for i in range(12)]},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: datasets.DatasetDict({"train": table}))
    source = opened("hf:pets")
    assert source.classes == ("cat", "dog")
    assert sorted(numbers(source.train) + numbers(source.val)) == list(range(12))
    shown = [b.indices.tolist() for b in plain_batches(source.train, SPEC, reading=3, batch=4, workers=2)]
    assert [i for batch in shown for i in batch] == list(range(len(source.train)))
