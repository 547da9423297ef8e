"""Counting, running and loading a model: the one way it is used for its answers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from allmlp.data.loader import Batch
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.engine.device import autocast, best_device, choose_precision
from allmlp.engine.infer import gather, stream
from allmlp.engine.load import load
from allmlp.errors import DataError, ModelError, RunError, WeightsError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.run import FORMAT, Run, write_json
from helpers import picture

VALUES: dict[str, Any] = dict(dim=8, depth=2, patch_size=4, img_size=8, num_classes=3)
CPU = torch.device("cpu")


@pytest.fixture
def model() -> ImageModel:
    torch.manual_seed(0)
    model = create_model("resmlp", **VALUES)
    model.classes = ("cat", "dog", "owl")
    return model


def batch(count: int, *, unreadable: int = 0) -> Batch:
    return Batch(
        torch.randn(count, 3, 8, 8),
        torch.arange(count) % 3,
        torch.arange(count),
        [(f"{i}.png", "damaged") for i in range(unreadable)],
    )


def empty() -> Batch:
    return Batch(torch.empty(0), torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), [("x.png", "damaged")])


def test_parameters_and_multiply_adds_by_hand(model: ImageModel) -> None:
    tokens, dim, hidden = 4, 8, 32
    stem, head = (3 * 16 + 1) * dim, (dim + 1) * 3
    block = 2 * 2 * dim + 2 * dim + tokens**2 + tokens + (dim + 1) * hidden + (hidden + 1) * dim
    assert parameters(model) == stem + 2 * block + 2 * dim + head
    once = tokens * 3 * 16 * dim + 2 * (dim * tokens**2 + 2 * tokens * dim * hidden) + dim * 3
    assert multiply_adds(model) == once
    assert next(model.parameters()).device.type == "cpu"


def test_streaming_evaluates_without_gradients_and_puts_the_mode_back(model: ImageModel) -> None:
    model.train()
    batches = [batch(4), empty(), batch(2)]
    seen = []
    for logits, given in stream(model, batches, device=CPU):
        assert not model.training
        seen.append((tuple(logits.shape), given))
        assert not logits.requires_grad
    assert [shape for shape, _ in seen] == [(4, 3), (0, 3), (2, 3)]
    assert all(given is original for (_, given), original in zip(seen, batches, strict=True))
    assert model.training


def test_the_mode_is_put_back_when_a_batch_fails(model: ImageModel) -> None:
    model.train()
    bad = Batch(torch.zeros(1, 3, 9, 9), torch.zeros(1).long(), torch.zeros(1).long(), [])
    with pytest.raises(ValueError, match="do not fit"):
        list(stream(model, [bad], device=CPU))
    assert model.training


def test_gathering_keeps_the_order_and_what_was_unreadable(model: ImageModel) -> None:
    batches, after = [batch(4, unreadable=1), empty(), batch(2)], []
    out = gather(model, batches, device=CPU, after=after.append)
    with torch.no_grad():
        expected = model.eval()(torch.cat([batches[0].images, batches[2].images]))
    torch.testing.assert_close(out.logits, expected)
    assert out.labels.tolist() == [0, 1, 2, 0, 0, 1]
    assert out.indices.tolist() == [0, 1, 2, 3, 0, 1]
    assert [path for path, _ in out.unreadable] == ["0.png", "x.png"]
    assert after == batches


def test_bf16_gives_float32_logits_that_are_near(model: ImageModel) -> None:
    given = batch(4)
    exact, rough = (gather(model, [given], device=CPU, precision=p).logits for p in ("fp32", "bf16"))
    assert rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.1, atol=0.02)


def test_precision_is_as_asked_and_narrow_models_stay_exact_on_a_cpu(model: ImageModel) -> None:
    assert [choose_precision(p, CPU, model) for p in ("fp32", "bf16", "auto")] == ["fp32", "bf16", "fp32"]
    with autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(CPU, "fp32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert best_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def card(model: ImageModel) -> dict[str, Any]:
    return {
        "family": model.family,
        "name": model.name,
        "hyperparameters": model.hyperparameters,
        "classes": model.classes,
        "preprocessing": model.preprocessing.to_dict(),
    }


@pytest.fixture
def run(model: ImageModel, tmp_path: Path) -> Run:
    """A run folder with its best weights."""
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    write_json(run.state, {"state": "finished"})
    run.write_model("best", model.state_dict(), card(model))
    return run


@pytest.mark.parametrize("source", [lambda r: r, lambda r: r.folder, lambda r: str(r.folder), lambda r: r.weights()])
def test_a_run_is_loaded_with_its_classes_and_preprocessing(source: Any, run: Run, model: ImageModel) -> None:
    loaded = load(source(run))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(loaded(x), model.eval()(x))
    assert not loaded.training
    assert (loaded.classes, loaded.preprocessing, loaded.name) == (model.classes, model.preprocessing, "resmlp")


def test_best_and_last_are_different_files(run: Run, model: ImageModel) -> None:
    with pytest.raises(RunError, match="has no last weights yet") as error:
        load(run, which="last")
    assert "--resume" in error.value.hint
    model.reset_classifier(3)
    model.classes = ("cat", "dog", "owl")
    run.write_model("last", model.state_dict(), card(model))
    assert torch.equal(load(run, which="last").head.weight, model.head.weight)
    assert not torch.equal(load(run).head.weight, model.head.weight)
    with pytest.raises(RunError, match="which='first'"):
        load(run, which="first")


@pytest.mark.parametrize("make", [lambda p: None, Path.touch, Path.mkdir], ids=["nothing", "a file", "an empty folder"])
def test_what_is_no_run_is_refused(make: Any, tmp_path: Path) -> None:
    make(tmp_path / "run")
    with pytest.raises(RunError, match=r"is neither a run folder nor|is not a run folder") as error:
        load(tmp_path / "run")
    assert "allmlp train" in error.value.hint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": FORMAT + 1}, "is of format 2, this allmlp reads up to 1"),
        ({"format": "one"}, "is of format 'one'"),
        ({"name": 3}, "does not describe a model"),
        ({"classes": None}, "does not describe a model"),
        ({"classes": ["cat", "dog"]}, "contradicts itself"),
        ({"name": "resnlp"}, "no model is named 'resnlp'"),
        ({"hyperparameters": {"dim": 8}}, "does not say depth"),
        ({"hyperparameters": {"dim": "8", "depth": 2}}, "dim='8'"),
        ({"preprocessing": {}}, "preprocessing is not understood"),
        ({"hyperparameters": {"dim": 8, "depth": 10**6}}, "describes 1,000,000 blocks"),
        ({"preprocessing": {"img_size": [9, 9]}}, "contradicts itself"),
    ],
    ids=lambda c: str(c)[:40],
)
def test_a_damaged_description_is_refused(change: dict[str, Any], said: str, run: Run) -> None:
    path = run.weights().with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(RunError, match=said):
        load(run)


def test_weights_without_their_description_or_damaged_are_refused(run: Run) -> None:
    run.weights().write_bytes(run.weights().read_bytes()[:200])
    with pytest.raises(WeightsError, match="cannot be read"):
        load(run)
    run.weights().with_suffix(".json").unlink()
    with pytest.raises(RunError, match=r"best\.json is missing"):
        load(run)


def test_pictures_of_any_size_and_mode_are_predicted_best_first(model: ImageModel) -> None:
    pictures = [picture(i, size, mode) for i, (size, mode) in enumerate([((9, 30), "RGB"), ((40, 8), "L"), ((8, 8), "RGBA")])]
    model.train()
    found = model.predict(pictures, top=2, batch=2)
    assert model.training
    for image, prediction in zip(pictures, found, strict=True):
        alone = model.predict(image, top=2)[0]  # a batch of another size is summed in another order
        assert prediction.classes == alone.classes
        assert prediction.probabilities == pytest.approx(alone.probabilities, rel=1e-6)
        with torch.no_grad():
            probabilities = model.eval()(model.preprocessing(image)[None]).softmax(1)[0]
        model.train()
        best = probabilities.argsort(descending=True)[:2].tolist()
        assert prediction.classes == tuple(("cat", "dog", "owl")[i] for i in best)
        assert prediction.probabilities == pytest.approx(probabilities[best].tolist(), rel=1e-5)
    assert sum(model.predict(pictures[0], top=99)[0].probabilities) == pytest.approx(1)


def test_unnamed_classes_are_numbers(model: ImageModel) -> None:
    model.classes = None
    assert set(model.predict(picture(0))[0].classes) == {"0", "1", "2"}


def test_a_failed_prediction_puts_the_mode_back(model: ImageModel) -> None:
    model.train()
    with pytest.raises(DataError, match="there is no file not a picture"):
        model.predict(["not a picture"])
    assert model.training


def test_a_model_without_classes_cannot_predict() -> None:
    with pytest.raises(ModelError, match="has no classes"):
        create_model("resmlp", **{**VALUES, "num_classes": 0}).predict(picture(0))
