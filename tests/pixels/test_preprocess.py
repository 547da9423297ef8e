"""The preprocessing that belongs to a checkpoint: timm's, and a case worked out by hand."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.pixels.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from helpers import picture


@pytest.mark.parametrize("img_size", [(32, 32), (32, 48), (48, 32)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "lanczos"])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(90, 61), (20, 33)], ids=["larger", "smaller"])
def test_preprocessing_is_timms(img_size: tuple[int, int], interpolation: str, crop_mode: str, size: tuple[int, int]) -> None:
    ours = Preprocessing(img_size=img_size, interpolation=interpolation, crop_mode=crop_mode, crop_ratio=0.875)
    theirs = create_transform(
        (3, *img_size),
        interpolation=interpolation,
        crop_pct=0.875,
        crop_mode=crop_mode,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )
    ours_made, theirs_made = ours(picture(0, size)), theirs(picture(0, size))
    assert ours_made.shape == (3, *img_size)
    # the parts of a picture that a crop keeps are placed in single precision: a grey level in few pixels (pixels/centre.py)
    apart = ((ours_made - theirs_made).abs() * 255 * torch.tensor(IMAGENET_STD).reshape(3, 1, 1)).round()
    assert apart.max() <= (2 if crop_mode == "center" else 0)
    assert (apart > 0).float().mean() < 0.005


@pytest.mark.parametrize("size", [(1, 85), (85, 1)])
def test_a_picture_too_thin_to_be_seen_is_one_pixel_thick_between_borders(size: tuple[int, int]) -> None:
    made = Preprocessing(img_size=(8, 8), crop_mode="border", crop_ratio=1.0, mean=HALF, std=HALF)(Image.new("L", size, 255))
    white = made[0] == 1  # y x
    assert white.sum() == 8
    assert white.any(int(size[0] > size[1])).sum() == 1


def test_a_centre_crop_by_hand() -> None:
    image = picture(1, (60, 40))
    spec = Preprocessing(img_size=(16, 16), crop_ratio=0.8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 2.0))
    # the shorter side becomes 16 / 0.8 = 20, the longer 30; the middle 16 × 16 is kept
    resized = np.asarray(image.resize((30, 20), Image.Resampling.BICUBIC), np.float32) / 255
    cropped = resized[2:18, 7:23]
    expected = (cropped - np.array([0.1, 0.2, 0.3], np.float32)) / np.array([0.5, 0.25, 2.0], np.float32)
    np.testing.assert_allclose(spec(image).numpy(), expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-5)


def test_a_picture_of_the_models_size_is_only_normalised() -> None:
    image = picture(2, (16, 16))
    pixels = torch.from_numpy(np.asarray(image).astype(np.float32)).permute(2, 0, 1) / 255
    torch.testing.assert_close(Preprocessing(img_size=(16, 16), crop_ratio=1.0, mean=HALF, std=HALF)(image), 2 * pixels - 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("in_chans", [1, 3])
def test_any_mode_becomes_the_models_channels(mode: str, in_chans: int) -> None:
    spec = Preprocessing(img_size=(8, 8)).fit(img_size=(8, 8), in_chans=in_chans)
    source = picture(3, (12, 12), "L") if mode in ("I;16", "F") else picture(3, (12, 12))
    tensor = spec(source.convert(mode))
    assert (tensor.shape, tensor.dtype) == ((in_chans, 8, 8), torch.float32)
    assert torch.isfinite(tensor).all()


def test_fitting_to_grey_averages_the_channels() -> None:
    spec = Preprocessing(img_size=(224, 224)).fit(img_size=(28, 28), in_chans=1)
    assert (spec.img_size, spec.in_chans) == ((28, 28), 1)
    assert (spec.mean, spec.std) == ((0.449,), (0.226,))
    assert Preprocessing(img_size=(224, 224)).fit(img_size=(32, 32), in_chans=3).mean == IMAGENET_MEAN


@given(
    st.builds(
        Preprocessing,
        img_size=st.tuples(st.integers(1, 512), st.integers(1, 512)),
        mean=st.tuples(*[st.floats(0, 1)] * 3),
        crop_ratio=st.floats(0.1, 1),
        interpolation=st.sampled_from(["bicubic", "bilinear"]),
    )
)
def test_preprocessing_survives_json(spec: Preprocessing) -> None:
    assert Preprocessing.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("change", [{"crop": 1}, {"img_size": None}], ids=["unknown", "missing"])
def test_preprocessing_that_is_not_understood_is_refused(change: dict[str, object]) -> None:
    values = {**Preprocessing(img_size=(8, 8)).to_dict(), **change}
    values = {k: v for k, v in values.items() if v is not None}
    with pytest.raises(ModelError, match="preprocessing is not understood"):
        Preprocessing.from_dict(values)


@pytest.mark.parametrize(
    "change",
    [
        *({"crop_ratio": value} for value in (0, -1, 1e-9, 1.5, "x", float("nan"), [1])),
        *({"mean": value} for value in ("abc", [0.5], [], {}, ["a", "b", "c"], [[1], [2], [3]], [float("inf")] * 3)),
        *({"std": value} for value in ([0, 0, 0], [1, 1, -1])),
        *({"interpolation": value} for value in ("x", 3, [])),
        *({"img_size": value} for value in (8, [8], [8, -8], [8, 8.0], "88")),
        *({"in_chans": value} for value in (0, 1, "3", True)),
        {"crop_mode": "middle"},
    ],
    ids=str,
)
def test_a_value_that_no_pipeline_can_be_made_of_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(
        ModelError, match=f"preprocessing is not understood: .*{next(iter(change)) if change != {'in_chans': 1} else 'mean'}="
    ):
        Preprocessing.from_dict({**Preprocessing(img_size=(8, 8)).to_dict(), **change})


@pytest.mark.parametrize(
    ("name", "mean", "crop_ratio"),
    [("mixer_s16", HALF, 0.875), ("resmlp_s12", IMAGENET_MEAN, 0.9), ("smlpnet_t", IMAGENET_MEAN, 0.875)],
)
def test_each_family_has_the_preprocessing_it_was_trained_with(name: str, mean: tuple[float, ...], crop_ratio: float) -> None:
    with torch.device("meta"):
        spec = create_model(name).preprocessing
    assert (spec.img_size, spec.mean, spec.crop_ratio, spec.interpolation) == ((224, 224), mean, crop_ratio, "bicubic")
