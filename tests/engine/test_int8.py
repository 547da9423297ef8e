"""int8 engines: set by images, and handed out only where they decide as the model does on others."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp.engine.backends.base import Runner, Wanted
from allmlp.engine.backends.eager import Eager
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.quantise import SETTING, Calibration
from allmlp.errors import EngineError, ShapeError
from allmlp.models.base import ImageModel
from contract import awake, build

WRONG = 3
"""Images of those compared that the engine below decides otherwise."""


class Wayward(Eager):
    """Right, but for the first few images of those it is compared on."""

    name = "wayward"
    precisions = ("int8",)

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        assert wanted.setting is not None
        assert len(wanted.setting) > 0
        left = [WRONG]

        def run(given: Tensor) -> Tensor:
            logits = model(given)
            wrong = min(left[0], len(given))
            left[0] -= wrong
            return torch.cat([logits[:wrong].roll(1, dims=1), logits[wrong:]])

        return run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ImageModel:
    monkeypatch.setitem(BACKENDS, "wayward", Wayward())
    return awake(build("resmlp_s12")).eval()


def shown(model: ImageModel, count: int) -> Tensor:  # → b c h w
    return torch.randn(count, model.in_chans, *model.img_size, generator=torch.Generator().manual_seed(7))


def test_half_of_the_images_set_the_ranges_and_at_most_as_many_as_nncf_looks_at() -> None:
    for count, setting in ((64, 32), (601, 300), (2000, SETTING)):
        images = torch.arange(float(count)).reshape(-1, 1, 1, 1)
        found = Calibration(images, None)
        assert len(found.setting) == setting
        together = torch.cat([found.setting, found.compared]).flatten().sort().values
        assert torch.equal(together, images.flatten())
        assert found.setting.max() >= count - count // setting - 2  # from everywhere, as sets are sorted by class


def test_points_lost_by_hand() -> None:
    due = torch.eye(4)[torch.tensor([0, 1, 2, 3])]
    got = torch.eye(4)[torch.tensor([0, 1, 3, 0])]
    images = torch.zeros(8, 1, 1, 1)
    assert Calibration(images, None).points_lost(due, got) == 50.0
    labels = torch.zeros(8, dtype=torch.long)
    labels[~Calibration(images, None).sets] = torch.tensor([0, 2, 2, 0])  # due is right on 0 and 2, got on 0 and 3
    assert Calibration(images, labels).points_lost(due, got) == 0.0
    labels[~Calibration(images, None).sets] = torch.tensor([0, 1, 2, 1])  # due on 0, 1, 2; got on 0 and 1
    assert Calibration(images, labels).points_lost(due, got) == 25.0


def test_an_engine_that_decides_otherwise_too_often_is_refused_with_the_figure(model: ImageModel) -> None:
    with pytest.raises(EngineError, match=rf"decides otherwise on {100 * WRONG / 100:.2f} % of 100 images(.|\n)*give labels"):
        allmlp.compile(model, precision="int8", backend="wayward", calibration=shown(model, 200))


def test_with_labels_the_loss_is_what_counts(model: ImageModel) -> None:
    images = shown(model, 200)
    with torch.inference_mode():
        labels = model(images).argmax(1)
    with pytest.raises(EngineError, match=r"loses 3\.00 % of 100 images"):
        allmlp.compile(model, precision="int8", backend="wayward", calibration=images, labels=labels)
    elsewhere = (labels + 2) % model.num_classes  # where the model is wrong anyway, nothing is lost
    engine = allmlp.compile(model, precision="int8", backend="wayward", calibration=images, labels=elsewhere)
    assert (engine.precision, engine.parity.points_lost, engine.parity.agreement) == ("int8", 0.0, pytest.approx(0.97))


def test_other_images_are_another_engine(model: ImageModel) -> None:
    images = shown(model, 1000)
    words = dict(precision="int8", backend="wayward")
    first = allmlp.compile(model, calibration=images, **words)  # type: ignore[arg-type]
    assert (first.from_disk, first.parity.points_lost) == (False, pytest.approx(300 / 700))
    assert allmlp.compile(model, calibration=images, **words).from_disk  # type: ignore[arg-type]
    assert not allmlp.compile(model, calibration=images + 1, **words).from_disk  # type: ignore[arg-type]


def test_mistakes_are_told(model: ImageModel) -> None:
    images = shown(model, 64)
    for words, said in [
        ({"calibration": images[:63]}, "63 images"),
        ({"calibration": images * float("nan")}, "finite"),
        ({"calibration": images, "labels": torch.zeros(63, dtype=torch.long)}, r"\(63,\)"),
        ({"calibration": images, "labels": torch.zeros(64)}, "whole number"),
        ({"calibration": images, "labels": torch.full((64,), model.num_classes)}, f"has {model.num_classes} classes"),
        ({"calibration": images, "labels": torch.full((64,), -1)}, "from -1"),
        ({"calibration": images, "precision": "bf16"}, "calibration is for int8"),
        ({"calibration": images, "backend": "eager"}, "eager does not offer int8"),
    ]:
        with pytest.raises(EngineError, match=said):
            allmlp.compile(model, **{"precision": "int8", **words})  # type: ignore[arg-type]
    features = awake(build("resmlp_s12", num_classes=0)).eval()
    with pytest.raises(EngineError, match="has no classes"):
        allmlp.compile(features, precision="int8", backend="wayward", calibration=images)
    with pytest.raises(ShapeError):
        allmlp.compile(model, precision="int8", calibration=torch.zeros(64, 3, 5, 5))


def test_without_nncf_the_extra_is_named(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.engine.backends.openvino.find_spec", lambda _: None)
    with pytest.raises(EngineError, match=r'nncf(.|\n)*pip install "allmlp\[export\]"'):
        allmlp.compile(model, precision="int8", backend="openvino", calibration=shown(model, 64))


def test_nncf_makes_an_engine_of_any_number_of_images(model: ImageModel) -> None:
    pytest.importorskip("nncf", reason="allmlp[export] brings nncf")
    pytest.importorskip("openvino", reason="allmlp[export] brings openvino")
    images = shown(model, 70)
    labels = torch.zeros(70, dtype=torch.long)
    engine = allmlp.compile(model, precision="int8", calibration=images, labels=labels, batch=16)
    assert (engine.backend, engine.precision) == ("openvino", "int8")
    assert 0 < engine.parity.deviation < 0.3
    assert engine(images[:5]).shape == (5, model.num_classes)
    again = allmlp.compile(model, precision="int8", calibration=images, labels=labels, batch=16)
    assert again.from_disk
    assert torch.equal(again(images), engine(images))
