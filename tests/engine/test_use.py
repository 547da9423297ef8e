"""Answers come from an engine where that pays, and are the same answers."""

from pathlib import Path
from typing import Any, get_args

import pytest
import torch

import allmlp
from allmlp.commands.words import Engines
from allmlp.data.loader import Batch
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.infer import gather
from allmlp.engine.use import ENOUGH, described, engine_for
from allmlp.errors import EngineError
from contract import awake, build, images
from helpers import PictureFolder

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))


def chosen(wanted: str, count: int, device: str = "cpu") -> str:
    model = awake(build("resmlp_s12")).eval()
    engine = engine_for(model, wanted, images=count, batch=8, device=torch.device(device), precision="fp32")
    return described(engine, "fp32")


def test_auto_builds_an_engine_for_many_images_on_a_cpu() -> None:
    assert chosen("auto", ENOUGH - 1) == "eager fp32"
    assert chosen("auto", ENOUGH, "cuda") == "eager fp32"
    assert chosen("eager", ENOUGH) == "eager fp32"
    assert chosen("torch", 1) == "torch fp32"
    assert chosen("auto", ENOUGH).endswith(" fp32")
    with pytest.raises(EngineError, match="did you mean torch"):
        chosen("torhc", 1)


def test_an_engine_gives_the_logits_of_the_model_in_the_same_order() -> None:
    model = awake(build("mixer_b16")).eval()
    batches = [Batch(images(model, n, seed=n), torch.arange(n), torch.arange(n), []) for n in (3, 0, 2)]
    engine = engine_for(model, "torch", images=5, batch=3, device=CPU, precision="fp32")
    plain, fast = (gather(model, batches, device=CPU, engine=e) for e in (None, engine))
    assert torch.allclose(plain.logits, fast.logits, rtol=0, atol=1e-5 * float(plain.logits.abs().max()))
    assert torch.equal(plain.indices, fast.indices)


def test_the_command_line_offers_every_backend() -> None:
    assert set(get_args(Engines)) == {"auto", *BACKENDS}


def test_predicting_with_an_engine_finds_the_same_classes(picture_folder: PictureFolder) -> None:
    folder, model = picture_folder({"cat": 3, "dog": 2}), awake(build("smlpnet_b")).eval()
    plain: list[dict[str, Any]]
    plain, fast = (list(allmlp.predict(model, [folder], engine=engine)) for engine in ("eager", "torch"))
    assert [row["classes"] for row in plain] == [row["classes"] for row in fast]
    assert len(fast) == 5
