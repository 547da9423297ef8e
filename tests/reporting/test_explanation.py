"""The page of an explanation: complete, self-contained, and there for every family."""

import json
import re
from pathlib import Path

import pytest

from allmlp import explain
from allmlp.errors import DataError, ModelError, RunError
from allmlp.models.base import ImageModel
from contract import SMALL, awake, build
from helpers import PictureFolder, picture

FAMILIES = {build(name).family: name for name in SMALL}


def small(**changed: object) -> ImageModel:
    model = awake(build("resmlp_xs", img_size=(16, 24), num_classes=2, **changed))
    model.classes = ("cat", "<dog> & co")
    return model


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_has_a_page(family: str, tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.png")
    found = explain.explained(build(FAMILIES[family]), [str(tmp_path / "a.png")], quiet=True)
    page = explain.write(found, tmp_path / "out")
    html = page.read_text(encoding="utf-8")
    record = json.loads((tmp_path / "out" / "explain.json").read_text(encoding="utf-8"))
    assert html.count("<svg") > 4
    assert "Receptive fields" in html
    assert bool(record["token_mixing"]) == (record["no_token_mixing"] is None)
    if not record["token_mixing"]:
        assert "has no token-mixing matrices" in html
    assert all((tmp_path / "out" / name).is_file() for name in record["pictures"])


def test_the_page_needs_nothing_else_and_runs_nothing(tmp_path: Path, picture_folder: PictureFolder) -> None:
    folder = picture_folder({"cat": 3, "<dog> & co": 3})
    paths = [str(folder / "cat" / "0.png"), str(folder / "cat" / "1.png")]
    found = explain.explained(small(), paths, prune=folder, quiet=True)
    html = explain.write(found, tmp_path / "out", subject="runs/mine").read_text(encoding="utf-8")
    assert "<title>What mine does</title>" in html
    assert "<script" not in html
    links = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "&lt;dog&gt; &amp; co" in html
    assert "<dog>" not in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    assert "What can be left out" in html
    assert "Across layers" in html


def test_the_numbers_are_all_in_the_json(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.png")
    model = small()
    found = explain.explained(model, [str(tmp_path / "a.png")], quiet=True)
    explain.write(found, tmp_path)
    record = json.loads((tmp_path / "explain.json").read_text(encoding="utf-8"))
    (image,) = record["images"]
    best = image["classes"][0]
    assert sum(map(sum, best["patches"])) + best["bias"] == pytest.approx(best["logit"], abs=1e-5)
    layer = explain.token_mixing(model)[0]
    radius = float(explain.mixing_radius(layer.matrix, layer.grid).mean())
    assert record["token_mixing"][0]["radius"] == radius
    assert len(record["linear_path_radius"]) == 2


def test_a_data_set_has_its_own_section_and_its_own_files(tmp_path: Path, picture_folder: PictureFolder) -> None:
    folder = picture_folder({"cat": 5, "<dog> & co": 4})
    found = explain.explained(small(), data=folder, quiet=True)
    html = explain.write(found, tmp_path / "out").read_text(encoding="utf-8")
    assert "9 images of" in html
    assert "most confusing" in html
    assert "<dog>" not in html
    record = json.loads((tmp_path / "out" / "explain.json").read_text(encoding="utf-8"))
    assert {"features.png", "classes.png", "neighbours.png"} <= set(record["pictures"])
    assert [row["class"] for row in record["data"]["classes"]] == ["cat", "<dog> & co"]
    assert len(record["data"]["map"]) == 9


def test_pictures_of_an_earlier_explanation_go_and_other_files_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for i in range(2):
        picture(i).save(tmp_path / f"{i}.png")
    explain.write(explain.explained(small(), [str(tmp_path / f"{i}.png") for i in range(2)], quiet=True), out)
    (out / "mine.png").write_bytes(b"")
    record = json.loads((out / "explain.json").read_text(encoding="utf-8"))
    record["pictures"].append("../0.png")
    (out / "explain.json").write_text(json.dumps(record), encoding="utf-8")
    assert (out / "picture2-evidence.png").is_file()
    explain.write(explain.explained(small(), [str(tmp_path / "0.png")], quiet=True), out)
    assert (out / "picture1-evidence.png").is_file()
    assert not (out / "picture2-evidence.png").exists()
    assert (out / "mine.png").is_file()
    assert (tmp_path / "0.png").is_file()


def test_unreadable_pictures_are_listed_and_none_at_all_is_an_error(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    found = explain.explained(small(), [str(tmp_path / "a.png"), str(tmp_path / "b.png")], quiet=True)
    assert "the file is empty" in explain.write(found, tmp_path).read_text(encoding="utf-8")
    with pytest.raises(DataError, match="none of the 1 pictures could be read: the file is empty"):
        explain.explained(small(), [str(tmp_path / "b.png")], quiet=True)


def test_pruning_what_has_no_matrices_is_refused() -> None:
    with pytest.raises(ModelError, match="nothing can be pruned"):
        explain.explained(build("resmlp_xs", token_mixing="none"), prune="x")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        explain.ready(tmp_path / "file" / "out")
