"""Weights that are not finite are refused by whatever would use them, and so are logits: nobody is given NaN."""

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scorecard import Card, Fault

import allmlp
from allmlp.cli import main
from allmlp.errors import AllmlpError, WeightsError
from allmlp.recipe import Recipe
from allmlp.run import Run

FAULT = Fault(241, "Weights that are not finite", "refused by name, with what can be done; no NaN is said or written")
Make = Callable[..., Recipe]

PLACES = {"patch": "stages.0.embed.weight", "head": "head.bias", "running mean": "norm.running_mean"}
VALUES = {"NaN": math.nan, "infinity": math.inf}


@pytest.fixture(scope="module")
def whole(stripes: Path, small_recipe: Make, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of a network with BatchNorm, whose running statistics are no parameters."""
    recipe = replace(small_recipe(train={"epochs": 1}), model="smlpnet", hyper={"dim": 8, "depths": (1, 1), "patch_size": 4})
    return allmlp.train(stripes, recipe=recipe, out=tmp_path_factory.mktemp("whole") / "run", quiet=True)


def spoiled(whole: Run, folder: Path, name: str, value: float, which: tuple[str, ...] = ("best",)) -> Run:
    """A copy of the run with one such value in these weights."""
    run = Run(shutil.copytree(whole.folder, folder))
    for each in which:
        tensors = load_file(run.weights(each))
        tensors[name].view(-1)[0] = value
        save_file(tensors, run.weights(each))
    return run


def uses(run: Path, images: Path, out: Path) -> dict[str, list[str]]:
    """Every command that takes weights, on these."""
    file = str(run / "best.safetensors")
    last = out / "last"
    return {
        "predict": ["predict", str(run), str(images)],
        "predict of a file": ["predict", file, str(images)],
        "predict --out": ["predict", str(run), str(images), "--out", str(out / "rows.parquet")],
        "evaluate": ["evaluate", str(run), str(images)],
        "evaluate --knn": ["evaluate", str(run), str(images), "--knn"],
        "compare": ["compare", str(run), str(last), "--data", str(images)],
        "explain": ["explain", str(run), "--out", str(out / "explained")],
        "export": ["export", str(run), "--format", "safetensors", "--out", str(out / "bundle")],
        "shrink": ["shrink", str(run), str(images), "--token-rank", "2", "--out", str(out / "shrunk")],
        "profile": ["profile", str(run), "--json"],
        "serve": ["serve", str(run), "--port", "0"],
        "train --init": ["train", str(images), "--init", str(run), "--out", str(out / "again")],
        "train --teacher": ["train", str(images), "--teacher", str(run), "--out", str(out / "student")],
    }


def test_every_command_refuses_them_by_name_before_it_writes(
    whole: Run, stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], card: Card
) -> None:
    seen = 0
    for place, value in [("running mean", "NaN"), ("patch", "infinity"), ("head", "NaN")]:
        folder = tmp_path / f"{place} {value}"
        folder.mkdir()
        shutil.copytree(whole.folder, folder / "last")
        run = spoiled(whole, folder / "run", PLACES[place], VALUES[value])
        before = set(folder.rglob("*"))
        for name, command in uses(run.folder, stripes, folder).items():
            if name in ("predict --out", "serve"):
                pytest.importorskip({"serve": "fastapi"}.get(name, "pyarrow"))
            status = main(command)
            printed = capsys.readouterr()
            what = f"{run.weights()} are not finite: {PLACES[place]}, 1 of"
            if name == "profile":  # whose table has a row for each model, with what is wrong with it
                assert status == 1
                assert what in strict(printed.out)["rows"][0]["error"]
                continue
            assert (status, printed.out) == (2, ""), name
            assert what in printed.err, name
            assert "use its last weights (--weights last)" in printed.err
            seen += 1
        assert {path for path in folder.rglob("*") if ".parts" not in str(path)} == before
    card.seen(
        "each command that takes weights, with NaN or infinity in one",
        seen,
        "tensor named, other weights offered, nothing written",
    )


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", VALUES)
def test_every_public_function_refuses_a_model_in_memory(place: str, value: str, whole: Run, stripes: Path, card: Card) -> None:
    """Whose weights went wrong after it was loaded."""
    model = allmlp.load(whole)
    with torch.no_grad():
        model.state_dict()[PLACES[place]].view(-1)[0] = VALUES[value]
    image = next(stripes.rglob("*.png"))
    calls: list[Callable[[], Any]] = [
        lambda: model.predict(Image.open(image)),
        lambda: list(allmlp.predict(model, [image])),
        lambda: allmlp.compile(model, backend="torch", keep=False),
        lambda: allmlp.load_weights(allmlp.load(whole), model.state_dict()),
    ]
    for call in calls:
        with pytest.raises(WeightsError, match="not finite: " + PLACES[place]):
            call()
    card.seen(f"{value} in the {place} of a model in memory", len(calls), "refused by name")


def test_the_hint_says_what_the_folder_has(whole: Run, tmp_path: Path) -> None:
    """Other weights only where they are whole; a checkpoint only where the run can go on; a file alone has neither."""
    both = spoiled(whole, tmp_path / "both", "head.bias", math.nan, ("best", "last"))
    with pytest.raises(WeightsError) as caught:
        allmlp.load(both)
    assert "--weights last" not in caught.value.hint
    assert "--resume" not in caught.value.hint
    assert f"train again with a lower --optim.lr, from {both.recipe}" in caught.value.hint
    state = json.loads(both.state.read_text())
    both.state.write_text(json.dumps({**state, "state": "stopped"}))
    with pytest.raises(WeightsError) as caught:
        allmlp.load(both)
    assert f"go on from its last checkpoint (--resume {both.folder})" in caught.value.hint
    alone = tmp_path / "alone.safetensors"
    shutil.copy(both.weights(), alone)
    shutil.copy(both.weights().with_suffix(".json"), alone.with_suffix(".json"))
    with pytest.raises(WeightsError) as caught:
        allmlp.load(alone)
    assert "copy or fetch their file again" in caught.value.hint


def test_a_number_too_large_for_the_models_type_counts_as_one_that_is_not_finite(whole: Run) -> None:
    model = allmlp.load(whole)
    tensors = {name: value.double() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    tensors["head.bias"][0] = 1e300
    with pytest.raises(WeightsError, match=r"head.bias, 1 of 2 values"):
        allmlp.load_weights(model, tensors)
    assert model.state_dict()["head.bias"].isfinite().all()
    tensors["head.bias"][0] = 1e30  # whose square is too large, and which itself is not
    allmlp.load_weights(model, tensors)


def test_a_conversion_keeps_every_number_and_says_so(whole: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = spoiled(whole, tmp_path / "run", "head.bias", math.nan)
    out = tmp_path / "there.safetensors"
    assert main(["convert", str(run.folder), "--to", "official", "--out", str(tmp_path / "there.pth")]) == 0
    assert "head.bias hold values that are not finite" in capsys.readouterr().err
    assert main(["convert", str(run.folder), "--to", "allmlp", "--out", str(out), "--json"]) == 0
    assert strict(capsys.readouterr().out)["not_finite"] == ["head.bias"]
    assert load_file(out)["head.bias"][0].isnan()


def strict(text: str) -> Any:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"bare {name}")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def overflowing(whole: Run, stripes: Path, tmp_path: Path) -> tuple[Run, Path]:
    """(a run whose finite weights overflow for bright images and not for black ones, a black image and the stripes)."""
    run = Run(shutil.copytree(whole.folder, tmp_path / "run"))
    card = json.loads(run.weights().with_suffix(".json").read_text())
    card["preprocessing"] |= {"mean": [0.0], "std": [1.0]}
    run.weights().with_suffix(".json").write_text(json.dumps(card))
    tensors = load_file(run.weights())
    tensors["stages.0.embed.weight"].fill_(3e38)
    save_file(tensors, run.weights())
    images = tmp_path / "images"
    shutil.copytree(stripes, images)
    Image.new("L", (16, 16)).save(images / "across" / "black.png")
    return run, images


def test_an_image_whose_logits_are_not_finite_gets_an_error_and_the_others_their_classes(
    overflowing: tuple[Run, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], card: Card
) -> None:
    run, images = overflowing
    rows = {Path(row["path"]).name: row for row in allmlp.predict(allmlp.load(run), [images / "across"], batch=4)}
    black = rows.pop("black.png")
    assert sum(black["probabilities"]) == pytest.approx(1)
    assert {row["error"] for row in rows.values()} == {"the model's logits are not finite for it"}
    assert main(["predict", str(run.folder), str(images / "across"), "--json"]) == 0
    assert [row.get("error") for row in map(strict, capsys.readouterr().out.splitlines())].count(None) == 1
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    for more in ([], ["--embeddings"]):
        out = tmp_path / f"rows{len(more)}.parquet"
        assert main(["predict", str(run.folder), str(images / "across"), "--out", str(out), *more]) == 0
        found = parquet.read_table(out).to_pylist()
        assert [Path(row["path"]).name for row in found if row["error"] is None] == ["black.png"]
        assert all(math.isfinite(p) for row in found for p in row["probabilities"] or ())
    card.seen("images for which finite weights overflow", 3 * len(rows), "an error each; the others are classified")


def test_figures_over_such_images_are_refused_and_name_the_first(
    overflowing: tuple[Run, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], card: Card
) -> None:
    run, images = overflowing
    shutil.copytree(run.folder, tmp_path / "other")
    before = sorted(run.folder.rglob("*"))
    for command in (
        ["evaluate", str(run.folder), str(images), "--json"],
        ["evaluate", str(run.folder), str(images), "--knn", "--json"],
        ["compare", str(run.folder), str(tmp_path / "other"), "--data", str(images), "--json"],
    ):
        assert main(command) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert re.search(r"(logits|features) are not finite for (48 of 49|45 of 45) images", printed.err), printed.err
        assert "00.png the first" in printed.err
    assert [path for path in sorted(run.folder.rglob("*")) if path not in before] == []
    card.seen("figures over such images", 3, "refused; the first image is named")


def test_a_server_refuses_such_an_image_alone(overflowing: tuple[Run, Path], card: Card) -> None:
    pytest.importorskip("fastapi", reason="allmlp[serve] brings it")
    from allmlp.serving.app import Server
    from allmlp.serving.served import Source
    from talk import ask, form

    run, images = overflowing
    server = Server(Source(run=str(run.folder), engine="eager"))
    black, bright = ((images / "across" / name).read_bytes() for name in ("black.png", "00.png"))
    good = ask(server, files=form(black))
    assert good.status_code == 200
    assert sum(strict(good.text)["predictions"][0]["probabilities"]) == pytest.approx(1)
    bad = ask(server, files=form(black, bright))
    assert bad.status_code == 422
    assert strict(bad.text)["error"] == "the model's logits are not finite for images[1]"
    assert strict(bad.text)["hint"]
    card.seen("a request with such an image", 2, "422 with a hint; a request without one is answered")


def test_a_server_keeps_its_model_where_the_new_one_is_spoiled(whole: Run, tmp_path: Path, card: Card) -> None:
    pytest.importorskip("fastapi", reason="allmlp[serve] brings it")
    from allmlp.serving.app import Server
    from allmlp.serving.served import Source
    from talk import ask

    run = Run(shutil.copytree(whole.folder, tmp_path / "run"))
    server = Server(Source(run=str(run.folder), engine="eager"), key="secret")
    version = server.holder.current.version
    tensors = load_file(run.weights())
    tensors["norm.running_mean"][0] = math.nan
    save_file(tensors, run.weights())
    answer = ask(server, path="/v1/reload", headers={"authorization": "Bearer secret"})
    assert answer.status_code == 409
    assert "norm.running_mean" in strict(answer.text)["error"]
    assert server.holder.current.version == version
    with pytest.raises(AllmlpError, match=r"norm\.running_mean"):
        Server(Source(run=str(run.folder), engine="eager"))
    card.seen("a reload of, and a start with, spoiled weights", 2, "refused; the model that was there stays")


def test_finite_weights_that_overflow_on_every_image_make_no_engine_bundle_or_server(
    whole: Run, stripes: Path, tmp_path: Path, card: Card
) -> None:
    run = Run(shutil.copytree(whole.folder, tmp_path / "run"))
    tensors = load_file(run.weights())
    tensors["head.weight"].fill_(3e38)
    save_file(tensors, run.weights())
    model = allmlp.load(run)
    with pytest.raises(AllmlpError, match="logits of smlpnet are not finite on the images an engine is compared on"):
        allmlp.compile(model, backend="torch", keep=False)
    with pytest.raises(AllmlpError, match="not finite on the images it is compared on; nothing was written"):
        allmlp.export(run.folder, format="safetensors", data=stripes, out=tmp_path / "bundle")
    with pytest.raises(AllmlpError, match=r"head\.weight has values that fp16 cannot hold"):
        allmlp.export(run.folder, format="safetensors", precision="fp16", data=stripes, out=tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    pytest.importorskip("fastapi", reason="allmlp[serve] brings it")
    from allmlp.serving.app import Server
    from allmlp.serving.served import Source

    with pytest.raises(AllmlpError, match="logits of smlpnet are not finite for a black image"):
        Server(Source(run=str(run.folder), engine="eager"))
    card.seen("weights too large to compute with, as an engine, a bundle, a server", 4, "refused with a hint")
