"""The same seed gives the same weights, however the pictures reach the model and however often the run is broken off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from scorecard import Card, Fault

import allmlp
from allmlp.recipe import Recipe
from helpers import interrupt_after, same_weights

FAULT = Fault(110, "The same seed twice", "bit-identical weights on a processor, on 1 and 4 workers, with and without resuming")
RICH = {"augment": {"mixup": 0.4, "cutmix": 1.0, "erase": 0.5}, "train": {"ema": 0.9}, "hyper": {"drop_path": 0.2}}


@pytest.mark.slow
def test_weights_depend_on_the_seed_alone(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, card: Card
) -> None:
    runs = []
    for workers in (0, 1, 4):
        recipe = small_recipe(**RICH, data={"workers": workers})
        for again in range(card.times(3, quick=1)):
            runs.append(allmlp.train(stripes, recipe=recipe, out=tmp_path / f"{workers}-{again}", quiet=True))
        with monkeypatch.context() as patch:
            interrupt_after(patch, 5 + workers)
            stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / f"{workers}-stopped", quiet=True)
        runs.append(allmlp.resume(stopped.folder, quiet=True))
    assert all(same_weights(runs[0], run, which) for run in runs[1:] for which in ("last", "best"))
    other = allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path / "other", seed=1, quiet=True)
    assert not same_weights(runs[0], other)
    card.seen(
        "runs with 0, 1 and 4 workers, whole and stopped by SIGTERM inside an epoch and resumed",
        len(runs),
        "all weights equal; another seed's differ",
    )
