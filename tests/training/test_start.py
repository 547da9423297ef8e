"""Training that starts from a trained model."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import allmlp
from allmlp.cli import main
from allmlp.errors import ModelError, RecipeError
from allmlp.run import Run, read_json
from helpers import PictureFolder

STILL = ["--optim.lr", "1e-12", "--optim.min-lr", "0"]
"""A step of this rate moves no weight by more than 1e-8."""
SHORT = ["--train.epochs", "1", "--train.batch", "8", "--data.workers", "0", "--data.val-share", "0.25", "--quiet"]


@pytest.fixture(scope="module")
def trained(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return allmlp.train(
        stripes,
        recipe=allmlp.Recipe(model="resmlp_xs", hyper={"dim": 16, "depth": 2}),
        out=tmp_path_factory.mktemp("runs") / "first",
        quiet=True,
        train={"epochs": 8, "batch": 8},
        optim={"lr": 0.02, "lr_batch": 8, "warmup": 1.0},
        **{"data.img_size": (16, 16), "data.in_chans": 1, "data.workers": 0, "data.val_share": 0.25},
    )


def train(*words: str) -> Run:
    assert main(["train", *words, *SHORT]) == 0
    return Run.open(words[words.index("--out") + 1])


def test_a_run_goes_on_at_another_size_in_one_command(trained: Run, stripes: Path, tmp_path: Path) -> None:
    run = train(str(stripes), "--init", str(trained.folder), "--img-size", "24", "16", "--out", str(tmp_path / "larger"))
    card = read_json(run.weights().with_suffix(".json"))
    assert card["preprocessing"]["img_size"] == [24, 16]
    assert card["hyperparameters"]["dim"] == 16
    assert allmlp.load(run).img_size == (24, 16)


def test_without_a_size_it_stays_and_training_begins_with_those_weights(trained: Run, stripes: Path, tmp_path: Path) -> None:
    run = train(str(stripes), "--init", str(trained.folder), *STILL, "--out", str(tmp_path / "same"))
    before, after = load_file(trained.weights()), load_file(run.weights())
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-8)
    assert allmlp.evaluate(run)["top1"] == allmlp.evaluate(trained)["top1"]


def test_other_classes_get_a_new_head_on_the_same_body(trained: Run, picture_folder: PictureFolder, tmp_path: Path) -> None:
    words = ["--init", str(trained.folder), *STILL, "--out", str(tmp_path / "other")]
    run = train(str(picture_folder({"cat": 8, "dog": 8, "owl": 8})), *words)
    before, after = load_file(trained.weights()), load_file(run.weights())
    assert tuple(read_json(run.data)["classes"]) != tuple(read_json(trained.data)["classes"])
    torch.testing.assert_close(after["patches.proj.weight"], before["patches.proj.weight"], rtol=0, atol=1e-8)


def test_an_interrupted_start_resumes_without_the_first_run(trained: Run, stripes: Path, tmp_path: Path) -> None:
    out = tmp_path / "second"
    run = train(str(stripes), "--init", str(trained.folder), "--img-size", "32", "--out", str(out))
    state = read_json(run.state)
    recipe = allmlp.load_recipe(run.recipe)
    assert (recipe.model, recipe.hyper["dim"], recipe.data.img_size) == ("resmlp_xs", 16, (32, 32))
    run.recipe.write_text(run.recipe.read_text().replace(str(trained.folder), str(tmp_path / "gone")))
    run.state.write_text(run.state.read_text().replace('"finished"', '"stopped"'))
    resumed = allmlp.resume(run.folder, quiet=True)
    assert read_json(resumed.state)["best"] == state["best"]


def test_drop_path_may_change_and_shapes_may_not(trained: Run, stripes: Path, tmp_path: Path) -> None:
    init = ["--init", str(trained.folder)]
    run = train(str(stripes), *init, "--hyper.drop_path", "0.1", "--out", str(tmp_path / "dropped"))
    assert allmlp.load(run).hyperparameters["drop_path"] == 0.1
    with pytest.raises(ModelError, match="dim would change the shape"):
        allmlp.train(stripes, init=str(trained.folder), hyper={"dim": 8}, out=tmp_path / "never", quiet=True)


def test_what_contradicts_the_first_run_is_said(trained: Run, stripes: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is a resmlp_xs, the recipe says mixer_xs"):
        allmlp.train(stripes, init=str(trained.folder), model="mixer_xs", out=tmp_path / "never", quiet=True)
    with pytest.raises(RecipeError, match="takes 1 channels"):
        allmlp.train(stripes, init=str(trained.folder), out=tmp_path / "never", quiet=True, **{"data.in_chans": 3})


def test_a_run_loads_evaluates_and_predicts_at_another_size(
    trained: Run, stripes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert allmlp.load(trained, img_size=32).preprocessing.img_size == (32, 32)
    for command in ("evaluate", "predict"):
        assert main([command, str(trained.folder), str(stripes), "--img-size", "32", "24", "--json"]) == 0
    assert "top1" in capsys.readouterr().out
    assert main(["evaluate", str(trained.folder), str(stripes), "--img-size", "1", "2", "3"]) == 2
    assert "give --img-size 64, or 64 48" in capsys.readouterr().err
