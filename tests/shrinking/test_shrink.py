"""`allmlp.shrink`: a new run that is smaller as it was asked to be, and a report of what was measured."""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import allmlp
from allmlp.cli import main
from allmlp.engine.cost import multiply_adds
from allmlp.errors import AllmlpError, DataError, ModelError, RunError
from allmlp.models.base import ImageModel
from allmlp.recipe import Recipe, load_recipe
from allmlp.run import Run, read_json
from allmlp.shrinking import measure
from allmlp.shrinking.measure import packed, size
from allmlp.shrinking.methods import Asked, levels, shrunk
from allmlp.shrinking.tune import tuning
from contract import awake, build, images
from helpers import interrupt_after


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    monkeypatch.setattr(measure, "ROUNDS", 3)


@pytest.fixture(scope="module")
def trained(stripes: Path, small_recipe: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = small_recipe(hyper={"patch_size": 2}, train={"epochs": 2})
    return allmlp.train(stripes, recipe=recipe, out=tmp_path_factory.mktemp("runs") / "first", quiet=True)


WAYS: list[dict[str, Any]] = [
    {"token_sparsity": 0.9},
    {"token_sparsity": 0.9, "scope": "global"},
    {"token_rank": 4},
    {"token_energy": 0.5},
    {"channel_sparsity": 0.5},
]


@pytest.mark.parametrize("words", WAYS)
def test_the_result_is_a_run_and_its_report_is_of_that_run(words: dict[str, Any], trained: Run, tmp_path: Path) -> None:
    report = allmlp.shrink(trained.folder, **words, epochs=2, out=tmp_path / "less")
    run, model = Run.open(tmp_path / "less"), allmlp.load(tmp_path / "less")
    assert report == read_json(run.folder / "shrink.json")
    before, after = report["original"], report["shrunk"]
    assert (before["top1"], after["top1"]) == tuple(
        allmlp.evaluate(r, engine="eager", quiet=True)["top1"] for r in (trained, run)
    )
    assert after["parameters"] == sum(p.numel() for p in model.parameters())
    assert after["macs"] == multiply_adds(model)
    assert (before["bytes"], after["bytes"]) == tuple(r.weights().stat().st_size for r in (trained, run))
    assert after["images_per_s"]["eager"]["low"] <= after["images_per_s"]["eager"]["median"]
    assert report["curve"][0]["top1"] == before["top1"]  # all of it left
    if "token_sparsity" in words:
        zeros = round(0.9 * 2 * 64 * 64)
        assert after["nonzero"] == pytest.approx(before["nonzero"] - zeros, abs=2)  # each matrix rounds; a bias may be 0
        assert (after["parameters"], after["macs"]) == (before["parameters"], before["macs"])
        assert after["packed_bytes"] < after["bytes"] - 4 * zeros + 2 * 64 * 64 // 8 + 1000
    else:
        assert after["parameters"] < before["parameters"]
        assert after["macs"] < before["macs"]
    assert main(["train", "--resume", str(run.folder)]) == 2  # it is finished


def test_sizes_are_those_of_files(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(8, 8), "b": torch.ones(4), "c": torch.arange(9.0).reshape(3, 3) - 4}
    tensors["a"][0, 3] = 5
    small = packed(tensors)
    assert {name: tuple(tensor.shape) for name, tensor in small.items()} == {
        "a.values": (1,),
        "a.places": (8,),
        "b": (4,),
        "c.values": (8,),
        "c.places": (2,),
    }
    model = build("resmlp_s12")
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    found = size(model, tmp_path / "w.safetensors")
    assert (found["bytes"], found["gzip_bytes"]) == (len(content), len(gzip.compress(content, mtime=0)))


@pytest.mark.parametrize("words", WAYS)
def test_the_curve_is_of_the_models_that_shrinking_makes(words: dict[str, Any]) -> None:
    model = awake(build("mixer_b16", img_size=(32, 16), channel_hidden=20)).eval()
    asked = Asked(**{**words, **({"token_sparsity": 0.5} if "token_sparsity" in words else {})})
    left, given = shrunk(model, asked), images(model, 2)
    values = levels(model, asked)
    if "token_rank" in words or "token_energy" in words:
        return compare_ranks(model, values)
    again = model.twin().eval()
    again.load_state_dict({**model.state_dict(), **values[0.5]})
    with torch.inference_mode():
        assert torch.allclose(left.model.eval()(given), again(given), rtol=1e-4, atol=1e-5)
    return None


def compare_ranks(model: ImageModel, values: dict[float, dict[str, torch.Tensor]]) -> None:
    for share, level in values.items():
        for name, value in level.items():
            assert torch.linalg.matrix_rank(value) == max(round(share * min(value.shape)), 1)
            assert value.shape == model.get_parameter(name).shape


def test_without_a_fine_tune_the_weights_are_those_that_were_left(trained: Run, tmp_path: Path) -> None:
    report = allmlp.shrink(trained.folder, channel_sparsity=0.25, epochs=0, out=tmp_path / "less")
    run = Run.open(tmp_path / "less")
    one, two = load_file(run.shrunk / "model.safetensors"), load_file(run.weights())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert report["shrunk"]["top1"] == report["shrunk"]["before_tuning"]["top1"]
    assert allmlp.evaluate(run, engine="eager", quiet=True)["top1"] == report["shrunk"]["top1"]
    again = allmlp.shrink(run.folder, token_rank=4, epochs=1, out=tmp_path / "both")  # one way after the other
    assert again["shrunk"]["parameters"] < report["shrunk"]["parameters"]


def test_the_same_call_goes_on_after_a_signal(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = allmlp.shrink(trained.folder, token_sparsity=0.8, epochs=2, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_after(patch, 3)
        cut = allmlp.shrink(trained.folder, token_sparsity=0.8, epochs=2, out=tmp_path / "cut")
    assert cut["state"] == "stopped"
    with pytest.raises(RunError, match="was begun with other words"):
        allmlp.shrink(trained.folder, token_sparsity=0.7, epochs=2, out=tmp_path / "cut")
    done = allmlp.shrink(trained.folder, token_sparsity=0.8, epochs=2, out=tmp_path / "cut")
    one, two = (load_file(Run(tmp_path / name).weights()) for name in ("whole", "cut"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert done["shrunk"]["loss"] == whole["shrunk"]["loss"]
    with pytest.raises(RunError, match="shrunk and measured already"):
        allmlp.shrink(trained.folder, token_sparsity=0.8, epochs=2, out=tmp_path / "cut")
    with pytest.raises(RunError, match="sparse already, and would not stay so"):
        allmlp.shrink(tmp_path / "cut", channel_sparsity=0.5, out=tmp_path / "more")


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ({}, ModelError, "0 ways to shrink are given"),
        ({"token_rank": 2, "channel_sparsity": 0.5}, ModelError, "2 ways to shrink are given"),
        ({"token_sparsity": 1.0}, ModelError, "token_sparsity is 1\n.*between 0 and 1"),
        ({"token_rank": 0}, ModelError, "token_rank is 0"),
        ({"token_rank": 32}, ModelError, "no smaller than any of the matrices\n.*64×64 below rank 32"),
        ({"token_sparsity": 0.5, "scope": "all"}, ModelError, "use layer or global"),
        ({"token_rank": 2, "out": "."}, RunError, "is not empty"),
        ({"token_rank": 2, "data": "other"}, DataError, "other classes than the model"),
    ],
)
def test_what_cannot_be_done_is_one_clear_error(
    words: dict[str, Any],
    kind: type[AllmlpError],
    told: str,
    trained: Run,
    picture_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    picture_folder({"cat": 4, "dog": 4}, name="other")
    with pytest.raises(kind, match=told):
        allmlp.shrink(trained.folder, **{"out": "new", **words})
    assert not (tmp_path / "new").exists()


def test_families_that_are_not_offered_say_so() -> None:
    with pytest.raises(ModelError, match="AS-MLP moves channels"):
        shrunk(build("asmlp_b"), Asked(token_sparsity=0.5))
    with pytest.raises(ModelError, match="trained in another form"):
        shrunk(build("repmlpnet_b224"), Asked(token_sparsity=0.5))
    left = shrunk(build("gmlp_b"), Asked(token_sparsity=0.5))  # any family with token-mixing matrices can be sparse
    assert all(2 * int(mask.sum()) == mask.numel() for mask in left.masks.values())


def test_the_command_prints_a_table_and_draws_a_curve(trained: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["shrink", str(trained.folder), "--token-rank", "8", "--out", str(tmp_path / "less")]
    assert main([*words, "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "multiply-adds" in out
    assert "top-1 before the fine-tune" in out
    assert (tmp_path / "less" / "shrink.svg").read_text().startswith("<?xml")
    assert main([*words[:-1], str(tmp_path / "more"), "--no-finetune", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epochs"] == 0
    assert main([*words, "--epochs", "0"]) == 2


def test_what_was_frozen_for_the_run_learns_in_the_fine_tune(trained: Run, tmp_path: Path) -> None:
    recipe = replace(load_recipe(trained.recipe), init="elsewhere.safetensors", freeze="backbone")
    found = tuning(recipe, allmlp.load(trained), tmp_path / "model.safetensors", epochs=1, lr=None)
    assert (found.freeze, found.init) == ("none", str(tmp_path / "model.safetensors"))
