"""A step whose update no loss tells of in time, because none is computed after it, is seen before a file is written."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from scorecard import Card, Fault

import allmlp
from allmlp.errors import TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training import loop
from allmlp.training.plan import Plan
from allmlp.training.step import Outcome

FAULT = Fault(240, "Validation that is not finite", "the run stops, named; never best; files written before are untouched")
Make = Callable[..., Recipe]
STEPS, EPOCHS = 4, 3
VALUES = {"NaN": math.nan, "infinity": math.inf, "3e38": 3e38, "-3e38": -3e38}


def after(monkeypatch: pytest.MonkeyPatch, step: int, place: str, value: float) -> None:
    plain = loop.update

    def spoiling(plan: Plan, batch: object, number: int, **more: object) -> Outcome:
        found = plain(plan, batch, number, **more)  # type: ignore[arg-type]
        if number + 1 == step:
            with torch.no_grad():
                plan.model.get_parameter(place).fill_(value)
        return found

    monkeypatch.setattr(loop, "update", spoiling)


def digests(run: Run) -> dict[str, bytes]:
    """Of the weights that a run leaves."""
    return {path.name: path.read_bytes() for path in run.folder.glob("*.safetensors") if path.stem in ("best", "last")}


@pytest.mark.parametrize("value", VALUES)
def test_the_last_step_of_each_epoch_is_seen(
    value: str, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch, card: Card
) -> None:
    recipe = small_recipe(train={"epochs": EPOCHS})
    model = allmlp.create_model("resmlp", **recipe.hyper, img_size=16, in_chans=1, num_classes=2)
    names = dict(model.named_parameters())
    places = [name for name in names if "weight" in name] if card.times(len(names), quick=1) > 1 else ["head.weight"]
    before: dict[int, dict[str, bytes]] = {0: {}}
    for epochs in range(1, EPOCHS):  # what is there when the next epoch begins; the schedule is that of the whole run
        with monkeypatch.context() as patch:
            patch.setattr(loop.Loop, "_train_epoch", stopping(loop.Loop._train_epoch, epochs))
            run = allmlp.train(stripes, recipe=recipe, out=tmp_path / f"until{epochs}", quiet=True)
        before[epochs] = digests(run)
    seen = 0
    for place in places:
        for epoch in range(1, EPOCHS + 1):
            out = tmp_path / "run"
            with monkeypatch.context() as patch:
                after(patch, epoch * STEPS, place, VALUES[value])
                with pytest.raises(TrainingError, match=rf"not finite (at|after) step {epoch * STEPS} \(epoch {epoch}\)"):
                    allmlp.train(stripes, recipe=recipe, out=out, quiet=True)
            run = Run(out)
            assert read_json(run.state)["state"] == "stopped"
            assert [line["epoch"] for line in read_lines(run.metrics)] == list(range(1, epoch))
            assert digests(run) == before[epoch - 1]
            assert all(
                bool(t.isfinite().all()) for file in run.folder.glob("best.safetensors") for t in load_file(file).values()
            )
            shutil.rmtree(out)
            seen += 1
    card.seen(f"weights that are {value} after the last step of an epoch", seen, "stopped and named; best as it was before")


def stopping(plain: Callable[[loop.Loop], None], epochs: int) -> Callable[[loop.Loop], None]:
    """Training that stops, as by a signal, when so many epochs are done."""

    def train_epoch(self: loop.Loop) -> None:
        if self.position.epoch == epochs:
            raise loop.Stopped
        plain(self)

    return train_epoch
