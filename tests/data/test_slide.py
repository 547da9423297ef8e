"""Shears and shifts along one axis are those that timm has Pillow make."""

from typing import Any

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP

from allmlp.data.slide import SLIDES, Slide
from allmlp.data.transforms import training_transform
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment
from helpers import picture

FILL = {"L": (77,), "RGB": (124, 116, 104)}
BICUBIC, BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


@pytest.mark.parametrize("colours", ["L", "RGB"])
@pytest.mark.parametrize("name", SLIDES)
@pytest.mark.parametrize("value", [-2.5, -0.3, -0.01, 0.0, 0.137, 0.45, 1.0])
def test_a_slide_is_timms_within_a_grey_level(value: float, name: str, colours: str) -> None:
    for seed, size in enumerate([(64, 48), (33, 57), (1, 9), (9, 1)]):
        given = picture(seed, size, colours)
        ours = Slide(name)(given, value, fillcolor=FILL[colours], resample=BICUBIC)
        theirs = NAME_TO_OP[name](given, value, fillcolor=FILL[colours], resample=BICUBIC)
        assert (ours.mode, ours.size) == (theirs.mode, theirs.size)
        levels = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs))
        assert levels.max() <= 1
        assert (levels > 0).mean() < 0.01 or levels.size < 100


def test_a_flat_picture_stays_flat_and_is_filled_from_outside() -> None:
    flat = Image.new("RGB", (40, 30), (10, 200, 255))
    made = np.asarray(Slide("TranslateXRel")(flat, 0.3, fillcolor=(1, 2, 3), resample=BICUBIC))
    assert (made[:, :28] == (10, 200, 255)).all()
    assert (made[:, 28:] == (1, 2, 3)).all()


def test_another_filter_is_left_to_timm() -> None:
    given, asked = picture(0, (30, 20)), dict(fillcolor=(0, 0, 0), resample=BILINEAR)
    assert Slide("ShearX")(given, 0.2, **asked).tobytes() == NAME_TO_OP["ShearX"](given, 0.2, **asked).tobytes()


def test_a_training_pipeline_slides_by_itself() -> None:
    pipeline: Any = training_transform(Augment(crop="resized", auto="rand-m9-mstd0.5-inc1"), Preprocessing(img_size=(32, 32)))
    ops = next(step for step in pipeline.transforms if hasattr(step, "ops")).ops
    slides = [op for op in ops if isinstance(op.aug_fn, Slide)]
    assert {op.name for op in slides} == set(SLIDES)
    assert all(op.kwargs["resample"] is BICUBIC for op in slides)
