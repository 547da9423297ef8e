"""allmlp compare, as a person and a program meet it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from allmlp.cli import main
from allmlp.evaluation.comparison import compare
from allmlp.metrics import summary
from allmlp.paired import exact_p
from allmlp.run import read_json, write_json

SMALL = ["--model", "resmlp_xs", "--hyper.dim", "16", "--hyper.depth", "1", "--data.img-size", "16", "16"]
FAST = ["--train.batch", "8", "--data.workers", "0", "--data.val-share", "0.4"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of nearly the same colour, so that models err."""
    folder = tmp_path_factory.mktemp("data") / "pictures"
    generator = np.random.default_rng(0)
    for i, name in enumerate(("ant", "<b>bee", "cow")):
        (folder / name).mkdir(parents=True)
        for j in range(20):
            pixels = 120 + 8 * i + generator.normal(0, 40, (20, 20, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{j:02}.png")
    return folder


@pytest.fixture(scope="module")
def runs(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Two runs on the same images, one with others held out, and one of other classes."""
    folder = tmp_path_factory.mktemp("runs")
    others = folder / "others"
    shutil.copytree(pictures, others)
    (others / "cow").rename(others / "dog")
    trained = {
        "one": [str(pictures), "--train.epochs", "1"],
        "two": [str(pictures), "--train.epochs", "2", "--hyper.patch-size", "8"],
        "seeded": [str(pictures), "--train.epochs", "1", "--seed", "5"],
        "dogs": [str(others), "--train.epochs", "1"],
    }
    for name, words in trained.items():
        assert main(["train", *words, *SMALL, *FAST, "--out", str(folder / name)]) == 0
    return {name: str(folder / name) for name in trained} | {"folder": str(folder)}


def found(words: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    capsys.readouterr()
    assert main(["compare", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_metrics_are_those_of_evaluate_and_pairs_add_up(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    result = found([runs["one"], runs["two"]], capsys)
    assert result["images"] == 24
    assert result["chosen_on"]
    for model in result["models"]:
        kept = read_json(Path(model["path"]) / "evaluation" / "val.json")
        for name in ("top1", "top5", "loss", "calibration_error"):
            seen = model["ece"] if name == "calibration_error" else model["measures"][name]["value"]
            assert seen == pytest.approx(kept[name], rel=1e-5), name
        assert model["measures"]["calibration_error"] == pytest.approx(kept["calibration_error_debiased"], abs=1e-6)
        for estimate in model["measures"].values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
    first, second = (model["measures"]["top1"]["value"] for model in result["models"])
    pair = result["pairs"][0]
    assert pair["only_second"] - pair["only_first"] == round(24 * (second - first))
    assert pair["p"] == pair["p_holm"] == exact_p(pair["only_first"], pair["only_second"])
    assert result["models"][1]["differences"]["top1"]["value"] == pytest.approx(second - first)
    assert [model["training"]["epochs"] for model in result["models"]] == [1, 2]
    assert result["models"][0]["parameters"] == read_json(Path(runs["one"]) / "best.json")["parameters"]
    assert result["models"][0]["macs"] == read_json(Path(runs["one"]) / "best.json")["macs"]


def test_only_what_differs_of_the_recipes_is_told(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    differs = found([runs["one"], runs["two"]], capsys)["recipe"]
    assert differs == {"hyper.patch_size": [None, 8], "train.epochs": [1, 2]}


def test_a_model_compared_with_itself_does_not_differ(runs: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    result = found([runs["one"], runs["one"]], capsys)
    assert [model["name"] for model in result["models"]] == [f"{runs['one']} (1)", f"{runs['one']} (2)"]
    assert result["pairs"][0]["p"] == 1.0
    assert all(e == {"value": 0, "low": 0, "high": 0} for e in result["models"][1]["differences"].values())
    assert result["recipe"] == {}


def test_runs_with_other_images_held_out_and_bare_weights_compare_on_given_data(
    runs: dict[str, str], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(Path(runs["seeded"]) / f"best{suffix}", tmp_path / f"alone{suffix}")
    words = [runs["one"], runs["seeded"], str(tmp_path / "alone.safetensors"), "--data", str(pictures), "--images", "30"]
    result = found(words, capsys)
    assert (result["images"], result["chosen_on"]) == (30, False)
    assert [model["name"] for model in result["models"]] == ["one", "seeded", "alone.safetensors"]
    assert result["models"][2]["training"] is None
    run, weights = (model["measures"] for model in result["models"][1:])
    assert run.keys() == weights.keys()
    assert all(run[name] == pytest.approx(weights[name], rel=1e-9) for name in run)  # the same figures, summed in another order
    assert result["recipe"] == {"seed": [0, 5, None]}


def test_classes_in_another_order_are_the_same_classes(
    runs: dict[str, str], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy whose outputs and class names are both turned around answers the same."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(Path(runs["one"]) / "best.safetensors")
    for name in [name for name, value in tensors.items() if name.startswith("head.") and value.shape[0] == 3]:
        tensors[name] = tensors[name].flip(0).contiguous()
    save_file(tensors, tmp_path / "turned.safetensors")
    card = read_json(Path(runs["one"]) / "best.json")
    write_json(tmp_path / "turned.json", {**card, "classes": card["classes"][::-1]})
    result = found([runs["one"], str(tmp_path / "turned.safetensors"), "--data", str(pictures)], capsys)
    assert (result["pairs"][0]["only_first"], result["pairs"][0]["only_second"]) == (0, 0)
    assert result["models"][1]["differences"]["loss"]["value"] == pytest.approx(0, abs=1e-6)


def test_people_get_tables_and_a_page_that_needs_nothing_else(
    runs: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    capsys.readouterr()
    assert main(["compare", runs["one"], runs["two"], "--out", str(page)]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith(f"{page}\n")
    for fact in ("24 images", "top-1", "calibration error", "McNemar's p", "multiply-adds", "train.epochs"):
        assert fact in captured.out, fact
    assert "top-5" not in captured.out  # of three classes
    assert "chosen on these images" in captured.err
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert all(link.startswith("#") for link in re.findall(r'(?:src|href)="([^"]*)"', html))
    assert html.count('role="img"') == 5
    assert "24 images" in html
    assert "2,000 simulated samples" in html


def test_a_name_from_a_strangers_disk_is_text(runs: dict[str, str], tmp_path: Path) -> None:
    strange = tmp_path / "<img src=x>\u202egnp"
    shutil.copytree(runs["one"], strange)
    assert main(["compare", str(strange), runs["two"], "--out", str(tmp_path / "page.html")]) == 0
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<img" not in html
    assert "&lt;img src=x&gt;" in html
    assert "\u202e" not in html  # which would turn what follows around


WRONG = [
    (["one"], "takes 2 to 12 runs, not 1"),
    ([], "takes 2 to 12 runs, not 0"),
    (["one"] * 13, "takes 2 to 12 runs, not 13"),
    (["one", "/no/run"], "/no/run is not a run folder"),
    (["one", "resmlp_s12.fb_in1k"], "a released name also needs --data"),
    (["one", "one/best.safetensors"], "has no images of its own"),
    (["one", "pictures"], "pictures is not a run folder"),
    (["one", "dogs"], "only one of them knows cow, dog"),
    (["one", "seeded"], "were not evaluated on the same images"),
    (["one", "unfinished"], "is not finished: 1 of 3 epochs"),
    (["one", "damaged"], "run.json is not what allmlp wrote there"),
    (["one", "two", "--out", "/no/folder/page.html"], "there is no folder /no/folder"),
    (["one", "two", "--out", "one"], "is a folder"),
    (["one", "two", "--images", "0"], "start at 1"),
    (["one", "two", "--data", "/no/data"], "neither a folder nor a data set"),
]


@pytest.mark.parametrize(("words", "said"), WRONG, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_mistake_is_one_clear_line_before_anything_is_measured(
    words: list[str],
    said: str,
    runs: dict[str, str],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("allmlp.evaluation.comparison.answers", lambda *a, **k: pytest.fail("measured"))
    known = {**runs, "pictures": str(pictures), "one/best.safetensors": f"{runs['one']}/best.safetensors"}
    for name, state in (("unfinished", {"state": "stopped", "epochs_done": 1, "epochs": 3}), ("damaged", [])):
        if name in words:
            known[name] = str(shutil.copytree(runs["one"], tmp_path / name))
            write_json(tmp_path / name / "run.json", {**read_json(tmp_path / name / "run.json"), **state} if state else [])
    capsys.readouterr()
    assert main(["compare", *(known.get(word, word) for word in words)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.startswith("error: ")
    assert err.count("\n") == 2  # what is wrong, and how to fix it


def test_unreadable_images_are_left_out_of_all(runs: dict[str, str], pictures: Path, tmp_path: Path) -> None:
    given = shutil.copytree(pictures, tmp_path / "pictures")
    content = (given / "ant" / "00.png").read_bytes()
    (given / "ant" / "00.png").write_bytes(content[: len(content) // 2])
    result = compare([runs["one"], runs["two"]], given, quiet=True)
    assert (result.images, result.unreadable) == (59, 1)


def test_metrics_of_the_summary_have_the_same_names() -> None:
    import torch

    from allmlp.paired import MEASURES

    assert set(MEASURES) <= summary(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), ("a", "b")).keys()
