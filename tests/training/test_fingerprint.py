"""A run goes on with the images it began with, wherever they lie now, and with no others."""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import allmlp
from allmlp.data.images import ArrayImages, Source
from allmlp.data.sources import open_source
from allmlp.errors import RunError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, write_json
from allmlp.training.fingerprint import Fingerprint
from helpers import interrupt_after, picture, same_weights

Make = Callable[..., Recipe]


@pytest.fixture
def stopped(stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Run]:
    """A folder of images, and a run on it that was stopped in its second epoch."""
    data = tmp_path / "data"
    shutil.copytree(stripes, data)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        return data, allmlp.train(data, recipe=small_recipe(), out=tmp_path / "run", quiet=True)


def refusal(run: Run) -> str:
    with pytest.raises(RunError, match="are not those this run began with: ") as error:
        allmlp.resume(run.folder, quiet=True)
    assert "restore them" in error.value.hint
    return error.value.what.partition("began with: ")[2]


def test_renamed_files_are_refused_and_counted(stopped: tuple[Path, Run]) -> None:
    """Their number and that of each class are as before, but others would be held out for validation."""
    data, run = stopped
    for number in range(12):
        (data / "down" / f"{number:02}.png").rename(data / "down" / f"new-{number:02}.png")
    said = refusal(run)
    assert said.startswith(f"12 are new, or have another class, such as {data}/down/new-")
    assert "; 12 are gone" in said
    assert "moved between training and validation, such as" in said


def test_an_image_of_another_size_or_another_class_is_refused(stopped: tuple[Path, Run]) -> None:
    data, run = stopped
    first = data / "across" / "00.png"
    before = first.read_bytes()
    first.write_bytes(before + b"\0")
    assert refusal(run) == f"1 has another size, such as {first}"
    first.write_bytes(before)
    shutil.move(first, data / "swap.png")
    shutil.move(data / "down" / "00.png", first)
    shutil.move(data / "swap.png", data / "down" / "00.png")
    assert refusal(run).startswith("2 have other sizes, such as ")


def test_an_image_more_and_one_fewer_are_named(stopped: tuple[Path, Run]) -> None:
    data, run = stopped
    (data / "across" / "23.png").rename(data / "across" / "24.png")  # the last stays the last
    assert refusal(run) == f"1 is new, or has another class, such as {data}/across/24.png; 1 is gone"
    (data / "across" / "24.png").unlink()
    assert "1 is gone" in refusal(run)


def test_a_folder_that_moved_is_gone_on_with_to_the_same_bits(
    stopped: tuple[Path, Run], stripes: Path, small_recipe: Make, tmp_path: Path
) -> None:
    data, run = stopped
    whole = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "whole", quiet=True)
    shutil.move(data, tmp_path / "somewhere" / "else")
    write_json(run.state, read_json(run.state) | {"data_spec": str(tmp_path / "somewhere" / "else")})
    assert same_weights(allmlp.resume(run.folder, quiet=True), whole)


def test_older_runs_without_a_digest_are_told_by_numbers_alone(stopped: tuple[Path, Run]) -> None:
    data, run = stopped
    (data / "across" / "23.png").rename(data / "across" / "24.png")
    write_json(run.data, {name: value for name, value in read_json(run.data).items() if name != "digest"})
    run.images.unlink()
    (data / "down" / "23.png").rename(data / "down-23.png")
    with pytest.raises(RunError, match=r"began with\n"):
        allmlp.resume(run.folder, quiet=True)
    (data / "down-23.png").rename(data / "down" / "23.png")
    assert read_json(allmlp.resume(run.folder, quiet=True).state)["state"] == "finished"


def test_without_marks_the_digest_still_refuses(stopped: tuple[Path, Run]) -> None:
    data, run = stopped
    run.images.unlink()
    (data / "across" / "23.png").rename(data / "across" / "24.png")
    assert refusal(run) == "other names, sizes, classes, or another order"


def test_the_digest_is_that_of_names_sizes_classes_and_order(stripes: Path) -> None:
    source = open_source(str(stripes), val_share=0.25, seed=0)
    expected = hashlib.sha256()
    for split, images in (("train", source.train), ("val", source.val)):
        expected.update(split.encode())
        for index, label in enumerate(images.labels):
            path = Path(images.name(index))
            expected.update(f"{label}/{path.relative_to(stripes)}\0{path.stat().st_size}\n".encode())
    assert Fingerprint(source).digest == expected.hexdigest()
    other = replace(source, train=source.val, val=source.train)
    assert Fingerprint(other).digest != Fingerprint(source).digest


def test_an_archive_may_move_and_its_members_may_not_change(stripes: Path, tmp_path: Path) -> None:
    def digest(path: Path, *, skip: str = "", longer: str = "") -> str:
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as archive:
            for file in sorted(stripes.glob("*/*.png")):
                name = file.relative_to(stripes).as_posix()
                copy = tmp_path / "member.png"
                copy.write_bytes(file.read_bytes() + (b"\0" if name == longer else b""))
                archive.add(copy, f"renamed/{name}" if name == skip else name)
        return Fingerprint(open_source(str(path), val_share=0.25, seed=0)).digest

    first = digest(tmp_path / "a" / "stripes.tar")
    assert digest(tmp_path / "b" / "stripes.tar") == first
    assert digest(tmp_path / "c" / "stripes.tar", longer="down/03.png") != first


def test_arrays_are_told_apart_by_their_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4, 4), dtype=np.uint8)

    def digest(pixels: np.ndarray) -> str:  # type: ignore[type-arg]
        images = [ArrayImages(pixels[part], [0, 1, 0, 1], "arrays") for part in (slice(4), slice(4, 8))]
        return Fingerprint(Source(title="arrays", classes=("a", "b"), train=images[0], val=images[1], split="")).digest

    first = digest(pixels)
    assert digest(pixels.copy()) == first
    pixels[5, 2, 2] ^= 1
    assert digest(pixels) != first
    embedded = open_source(None, val_share=0.1, seed=0)
    assert Fingerprint(embedded).digest == Fingerprint(open_source(None, val_share=0.1, seed=0)).digest


def test_a_damaged_file_may_be_replaced_by_a_whole_one(
    tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(16):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, (80 + number % 3, 72)).save(path)  # too large, and too different, to be held in memory
    damaged = tmp_path / "data" / "a" / "4.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    recipe = small_recipe(train={"batch": 2}, data={"max_bad_share": 0.5}, augment={"crop": "resized", "padding": 4})
    with monkeypatch.context() as patch:
        interrupt_after(patch, 7)
        run = allmlp.train(tmp_path / "data", recipe=recipe, out=tmp_path / "run", quiet=True)
    assert [json.loads(line)["path"] for line in run.unreadable.read_text().splitlines()] == [str(damaged)]
    damaged.write_bytes(whole)
    assert Image.open(damaged).size == (81, 72)
    assert read_json(allmlp.resume(run.folder, quiet=True).state)["state"] == "finished"
