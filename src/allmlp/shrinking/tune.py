"""A shrunk model trained a little further by the one training loop, or left as it is, as a run."""

from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from allmlp.data.images import Source
from allmlp.engine.device import best_device
from allmlp.engine.environment import environment
from allmlp.files import whole_file, writing
from allmlp.models.base import ImageModel
from allmlp.recipe import Distill, Recipe
from allmlp.run import Run, write_json
from allmlp.training.optim import WARMUP as USUAL
from allmlp.training.summary import describe

RATE = 0.2
"""Of the recipe's learning rate, unless another is given: the model is trained already."""
WARMUP = 0.1
"""Share of the epochs, at most."""


def tuning(recipe: Recipe, model: ImageModel, init: Path, *, epochs: int, lr: float | None) -> Recipe:
    """The recipe for a few epochs from `init` on: its images and their changes, its optimiser at a lower rate.

    Preprocessing is the model's own; a teacher, smaller pictures and what was frozen are left out.
    """
    spec = model.preprocessing
    data = replace(
        recipe.data,
        img_size=model.img_size,
        in_chans=model.in_chans,
        mean=spec.mean,
        std=spec.std,
        crop_ratio=spec.crop_ratio,
        crop_mode=spec.crop_mode,  # type: ignore[arg-type]
        interpolation=spec.interpolation,  # type: ignore[arg-type]
    )
    rate, asked = recipe.optim.lr * RATE if lr is None else lr, recipe.optim.warmup
    warmup = min(USUAL if asked is None else asked, WARMUP * epochs)
    optim = replace(recipe.optim, lr=rate, warmup=warmup, warmup_steps=None, cooldown=0.0)
    return replace(
        recipe,
        model=model.name,
        hyper={name: value for name, value in recipe.hyper.items() if name == "drop_path"},
        init=str(init),
        freeze="none",
        data=data,
        optim=optim,
        augment=replace(recipe.augment, mix_off=min(recipe.augment.mix_off, epochs)),
        train=replace(recipe.train, epochs=epochs, sizes=(), head_bias=0.0),
        distill=Distill(),
    )


def untrained(model: ImageModel, recipe: Recipe, source: Source, spec: str | None, out: Path, found: dict[str, Any]) -> Run:
    """The run folder of a model that was not trained further: finished, after no epoch. found: its accuracy."""
    run = Run.create(out)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with writing(run.recipe), whole_file(run.recipe) as temporary:
        temporary.write_text(recipe.to_toml(), encoding="utf-8")
    write_json(run.environment, environment(best_device(), "fp32"))
    write_json(run.data, describe(source))
    for which in ("best", "last"):
        run.write_model(which, model.state_dict(), {**model.card(), "epoch": 0, "top1": found["top1"]})
    state: dict[str, Any] = {
        "data": source.title,
        "data_spec": spec,
        "command": "allmlp shrink",
        "seed": recipe.seed,
        "started": now,
    }
    state |= {"allmlp": version("allmlp"), "state": "finished", "signal": None, "epochs_done": 0, "epochs": 0, "seconds": 0.0}
    write_json(run.state, {**state, "best": {"epoch": 0, "top1": found["top1"], "weights": "raw"}, "retries": []})
    return run
