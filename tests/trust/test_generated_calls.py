"""Calls of the Python interface with generated values: a typed error or a right result."""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from scorecard import Card, Fault
from torch import Tensor

import allmlp
from allmlp.errors import AllmlpError
from allmlp.metrics import summary
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import recipe_from
from contract import SMALL, awake, build, images
from helpers import attempt, picture

FAULT = Fault(
    80,
    "10,000 generated calls",
    "an error of allmlp's own types that says how to hint it, or a right result; never a bare one of torch's",
)
pytestmark = pytest.mark.slow

odd = st.one_of(
    *(
        st.none(),
        st.booleans(),
        st.integers(-3, 70),
        st.floats(-2, 2),
        st.sampled_from([float("nan"), float("inf"), 10**30, -(10**30)]),
    ),
    *(
        st.text(max_size=4),
        st.lists(st.integers(-1, 40), max_size=4),
        st.tuples(st.integers(0, 40), st.integers(0, 40)),
        st.just({}),
    ),
)
NAMES = (
    "dim",
    "depth",
    "patch_size",
    "img_size",
    "in_chans",
    "num_classes",
    "drop_path",
    "expansion",
    "depths",
    "dims",
    "layer_scale",
    "heads",
    "act",
    "segments",
    "nonsense",
)
GROUPS = ("data", "augment", "optim", "train", "hyper", "distill", "model", "init", "seed", "nonsense")
FIELDS = (
    "lr",
    "epochs",
    "batch",
    "img_size",
    "in_chans",
    "mixup",
    "cutmix",
    "ema",
    "sizes",
    "name",
    "warmup",
    "crop",
    "mean",
    "std",
    "val_share",
    "precision",
    "workers",
    "nonsense",
)


class Calls:
    """Counts them; whatever error is none of ours is the test's failure."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def __call__(self, call: Callable[[], Any]) -> Any:
        """What the call gave, or None where it was refused."""
        given, error = attempt(AllmlpError, call)
        assert error is None or error.hint, error
        self.of["right" if error is None else "refused"] += 1
        return given


def of_models(data: st.DataObject, call: Calls) -> None:
    """Made, run, folded, resized and asked."""
    name = data.draw(st.sampled_from(sorted(SMALL)))
    changed = data.draw(st.dictionaries(st.sampled_from(NAMES), odd, max_size=2))
    model = call(lambda: build(name, **changed))
    if model is None:
        return
    awake(model).eval()
    if model.in_chans < 64 and max(model.img_size) <= 256:
        of_a_model(data, call, model)


@torch.inference_mode()
def of_a_model(data: st.DataObject, call: Calls, model: ImageModel) -> None:
    given = images(model, data.draw(st.integers(1, 3)))
    answer = call(lambda: model(given))
    assert answer.shape == (len(given), model.num_classes or model.num_features)
    assert answer.isfinite().all()
    folded = call(lambda: allmlp.fold(model))
    if folded is not None:
        near(folded(given), answer)
    size = data.draw(st.one_of(odd, st.sampled_from([8, 16, 24, (8, 16), (32, 16)])))
    larger = call(
        lambda: allmlp.resize(
            model, size, **data.draw(st.dictionaries(st.sampled_from(("method", "kernel", "patches")), WORDS, max_size=2))
        )
    )
    if larger is not None:
        assert larger(images(larger, 1)).shape == (1, *answer.shape[1:])
    shape = data.draw(st.lists(st.integers(0, 9), max_size=5))
    call(lambda: model(torch.zeros(shape)))
    if model.in_chans in (1, 3):
        mode = data.draw(st.sampled_from(["L", "RGB", "RGBA", "P", "1", "CMYK", "I", "F", "LA"]))
        image = picture(0, data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60))), mode)
        for row in call(lambda: model.predict(image, top=data.draw(st.integers(-2, 9)))) or ():
            assert all(0 <= share <= 1 for share in row.probabilities)
    state = {
        key: data.draw(st.sampled_from([value, value[:1], value.half()])) if value.dim() else value
        for key, value in list(model.state_dict().items())[: data.draw(st.integers(1, 99))]
    }
    call(lambda: allmlp.load_weights(model, state))


WORDS = st.sampled_from(
    ["interpolate", "block_diagonal", "copy", "area", "bilinear", "bicubic", "magnified", "same", "nonsense", "", None, 3]
)


def near(given: Tensor, wanted: Tensor) -> None:
    """Folded, sums are rounded in another order."""
    assert float((given - wanted).norm()) <= 1e-3 * float(wanted.norm()) + 1e-6


def of_recipes(data: st.DataObject, call: Calls) -> None:
    fields = st.dictionaries(st.sampled_from(FIELDS), odd, max_size=2)
    table = data.draw(st.dictionaries(st.sampled_from(GROUPS), st.one_of(fields, odd), max_size=3))
    recipe = call(lambda: recipe_from(table))
    if recipe is not None:
        assert call(lambda: recipe_from(table)) == recipe


def of_transforms(data: st.DataObject, call: Calls) -> None:
    values = {
        "img_size": (8, 8),
        **data.draw(
            st.dictionaries(
                st.sampled_from(("img_size", "in_chans", "mean", "std", "crop_ratio", "crop_mode", "interpolation")),
                st.one_of(odd, st.sampled_from(["squash", "border", "bilinear", "lanczos", [0.5], 0.7, [9, 30], 1])),
                max_size=2,
            )
        ),
    }
    spec = call(lambda: Preprocessing.from_dict(values))
    image = picture(1, data.draw(st.tuples(st.integers(1, 90), st.integers(1, 90))))
    pixels = call(lambda: spec(image)) if spec is not None else None
    if pixels is not None:
        assert pixels.shape == (spec.in_chans, *spec.img_size)
        assert pixels.isfinite().all()


def of_metrics(data: st.DataObject, call: Calls) -> None:
    """Of right shapes: they are told of no others."""
    count, classes = data.draw(st.integers(1, 20)), data.draw(st.integers(2, 9))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 10**6)))
    kind = data.draw(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
    logits = (torch.randn(count, classes, generator=generator) * data.draw(st.sampled_from([0, 1, 1e4]))).to(kind)
    labels = torch.randint(classes, (count,), generator=generator)
    found = call(lambda: summary(logits, labels, tuple(map(str, range(classes)))))
    sure = [int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True) if (row == row.max()).sum() == 1]
    if len(sure) == count:
        assert found["top1"] == pytest.approx(sum(sure) / count)


@pytest.mark.parametrize(
    ("what", "share", "each"), [(of_models, 0.6, 5), (of_recipes, 0.2, 1.5), (of_transforms, 0.15, 1.5), (of_metrics, 0.05, 1)]
)
def test_calls(what: Callable[[st.DataObject, Calls], None], share: float, each: float, card: Card) -> None:
    wanted = int(card.times(10_000, 250) * share)
    call = Calls()

    for number in itertools.count():

        @seed(number)
        @settings(max_examples=int(wanted / each) + 1, phases=[Phase.generate], derandomize=False, database=None)
        @given(st.data())
        def generated(data: st.DataObject) -> None:
            what(data, call)

        generated()
        if call.of.total() >= wanted:
            break
    assert min(call.of["refused"], call.of["right"]) > 0 or what is of_metrics
    card.seen(
        f"generated {what.__name__.replace('_', ' ')}",
        call.of.total(),
        f"{call.of['right']:,} right, {call.of['refused']:,} refused by a typed error",
    )
