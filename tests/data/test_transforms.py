"""The random changes to training images: timm's policies on grey and RGB, and each part by itself."""

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision import transforms

from allmlp.data.keys import seed_everything
from allmlp.data.transforms import Transform, training_transform
from allmlp.errors import RecipeError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment
from helpers import attempt, picture

GREY = Preprocessing(img_size=(24, 32)).fit(img_size=(24, 32), in_chans=1)
RGB = Preprocessing(img_size=(24, 32))
PLAIN = dict(flip=0.0, crop="none")
POLICIES = [
    "rand-m9-mstd0.5-inc1",
    "rand-m9-mstd0.5",
    "rand-m15-n2-mstdinf",
    "rand-m10-n6-inc1",  # the magnitude at which increasing Posterize asks for no bits at all
    "original",
    "originalr",
    "v0-mstd0.5",
    "v0r",
    "3a",
    "augmix-m3-w3",
    "ta_wide",
]


def run(transform: Transform, seed: int, spec: Preprocessing, number: int = 0) -> torch.Tensor:
    """The transform's answer for one picture under one seed."""
    seed_everything(seed, "step", 0)
    return transform(picture(number, (32, 24), "L" if spec.in_chans == 1 else "RGB"))


@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("crop", ["resized", "pad", "none"])
@pytest.mark.parametrize("auto", POLICIES)
def test_every_policy_works_on_every_kind_of_picture(auto: str, crop: Any, spec: Preprocessing) -> None:
    transform = training_transform(Augment(auto=auto, crop=crop), spec)
    results = [run(transform, seed, spec) for seed in range(60)]
    assert {r.shape for r in results} == {(spec.in_chans, 24, 32)}
    assert {r.dtype for r in results} == {torch.float32}
    assert all(torch.isfinite(r).all() for r in results)
    assert len({r.numpy().tobytes() for r in results}) > 10


@pytest.mark.parametrize("spec", [GREY, RGB], ids=["grey", "rgb"])
@pytest.mark.parametrize("auto", ["rand-m9-mstd0.5-inc1", "original-mstd0.5", "originalr-mstd0.5", "v0", "v0r-mstd2"])
def test_posterize_never_asks_for_no_bits(auto: str, spec: Preprocessing) -> None:
    transform = training_transform(Augment(auto=auto, **PLAIN), spec)
    for seed in range(400):
        assert run(transform, seed, spec).shape == (spec.in_chans, 24, 32)


@pytest.mark.parametrize("crop", ["resized", "pad"])
def test_the_same_seed_gives_the_same_picture_and_another_another(crop: Any) -> None:
    transform = training_transform(Augment(crop=crop, auto="rand-m9-mstd0.5-inc1", erase=0.5), RGB)
    assert torch.equal(run(transform, 3, RGB), run(transform, 3, RGB))
    assert not torch.equal(run(transform, 3, RGB), run(transform, 4, RGB))


def test_a_transform_crosses_to_worker_processes() -> None:
    transform = training_transform(Augment(auto="rand-m9-mstd0.5-inc1"), RGB)
    assert torch.equal(run(pickle.loads(pickle.dumps(transform)), 3, RGB), run(transform, 3, RGB))


def plain(image: Any, spec: Preprocessing = RGB) -> torch.Tensor:
    return transforms.functional.normalize(transforms.functional.to_tensor(image), spec.mean, spec.std)


def test_without_changes_a_picture_of_the_right_size_is_only_normalised() -> None:
    transform = training_transform(Augment(**PLAIN), RGB)
    torch.testing.assert_close(run(transform, 0, RGB), plain(picture(0, (32, 24))))


def test_without_a_crop_a_picture_of_another_size_is_resized_whole() -> None:
    image = picture(1, (50, 50))
    expected = plain(transforms.functional.resize(image, [24, 32], transforms.InterpolationMode.BICUBIC))
    torch.testing.assert_close(training_transform(Augment(**PLAIN), RGB)(image), expected)


def test_a_flip_mirrors_left_to_right() -> None:
    transform = training_transform(Augment(**{**PLAIN, "flip": 1.0}), RGB)
    torch.testing.assert_close(run(transform, 0, RGB), plain(picture(0, (32, 24))).flip(2))


def test_a_pad_crop_shifts_by_up_to_its_padding() -> None:
    transform = training_transform(Augment(crop="pad", padding=3, flip=0.0), RGB)
    padded = plain(transforms.functional.pad(picture(0, (32, 24)), 3))
    shifts = set()
    for seed in range(120):
        shown = run(transform, seed, RGB)
        places = [(y, x) for y in range(7) for x in range(7) if torch.equal(shown, padded[:, y : y + 24, x : x + 32])]
        assert len(places) == 1
        shifts.update(places)
    assert {y for y, _ in shifts} == {x for _, x in shifts} == set(range(7))


@pytest.mark.parametrize(("side", "pads"), [(64, True), (65, False)])
def test_small_pictures_are_shifted_and_larger_ones_cut_unless_told_otherwise(side: int, pads: bool) -> None:
    transform: Any = training_transform(Augment(), Preprocessing(img_size=(side, side)))
    kinds = {type(step).__name__ for step in transform.transforms}
    assert ("RandomCrop" in kinds) == pads
    assert ("RandomPart" in kinds) != pads


def test_a_resized_crop_takes_at_least_its_share_of_the_area() -> None:
    transform = training_transform(Augment(crop="resized", min_area=1.0, flip=0.0), RGB)
    ramp = picture(0, (32, 24)).copy()
    ramp.putdata([(x * 8, y * 10, 0) for y in range(24) for x in range(32)])
    whole = plain(ramp)
    seed_everything(0, "step", 0)
    assert float((transform(ramp) - whole).abs().mean()) < 0.25


@pytest.mark.parametrize("crop", ["resized", "none"])
def test_colours_vary_within_the_jitters_strength(crop: Any) -> None:
    strong = training_transform(Augment(crop=crop, color_jitter=0.4, flip=0.0, min_area=1.0), RGB)
    assert len({round(float(run(strong, seed, RGB).mean()), 3) for seed in range(8)}) > 4


def test_a_policy_switches_colour_jitter_off_in_every_kind_of_crop_as_timm_does() -> None:
    for crop in ("resized", "pad", "none"):
        augment = Augment(crop=crop, color_jitter=0.4, auto="rand-m9-mstd0.5-inc1")  # type: ignore[arg-type]
        transform: Any = training_transform(augment, RGB)
        assert not any(isinstance(step, transforms.ColorJitter) for step in transform.transforms), crop


@pytest.mark.parametrize("crop", ["resized", "none"])
def test_erasing_replaces_one_rectangle(crop: Any) -> None:
    whole, erased = (training_transform(Augment(crop=crop, erase=e, flip=0.0, min_area=1.0), RGB) for e in (0.0, 1.0))
    changed = False
    for seed in range(5):
        seed_everything(seed, "step", 0)
        before = whole(picture(0, (32, 24)))
        seed_everything(seed, "step", 0)
        moved = (erased(picture(0, (32, 24))) != before).any(0)
        rows, columns = np.flatnonzero(moved.any(1)), np.flatnonzero(moved.any(0))
        if len(rows) and crop == "none":
            box = moved[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert box.all()
            assert box.numel() < moved.numel()
        changed |= bool(len(rows))
    assert changed


@pytest.mark.parametrize("crop", ["resized", "pad", "none"])
def test_cutout_is_the_mean_colour_and_comes_before_noise(crop: Any) -> None:
    transform = training_transform(Augment(crop=crop, cutout=12, erase=1.0), RGB)
    kinds = [type(step).__name__ for step in transform.transforms]  # type: ignore[attr-defined]
    assert kinds.index("ToNormalised") < kinds.index("Cutout") < kinds.index("RandomErasing")
    shown = run(training_transform(Augment(crop=crop, cutout=12), RGB), 1, RGB)
    assert int((shown == 0).all(0).sum()) >= 36


@pytest.mark.parametrize("crop", ["resized", "pad", "none"])
@pytest.mark.parametrize("auto", ["banana", "rand-banana9", "v9", "original-m9", "randm9"])
def test_a_policy_timm_does_not_know_is_refused_by_field(auto: str, crop: Any) -> None:
    with pytest.raises(RecipeError, match=r"augment\.auto is ") as error:
        training_transform(Augment(auto=auto, crop=crop), RGB)
    assert auto in error.value.what
    assert "rand-m9-mstd0.5-inc1" in error.value.hint


@pytest.mark.parametrize("crop", ["resized", "pad", "none"])
def test_the_policies_that_the_hint_names_are_known(crop: Any) -> None:
    with pytest.raises(RecipeError) as error:
        training_transform(Augment(auto="banana", crop=crop), RGB)
    for auto in error.value.hint.removeprefix("use a name such as ").split(" or "):
        training_transform(Augment(auto=auto, crop=crop), RGB)


words = st.sampled_from(
    ["rand", "augmix", "v0", "3a", "original", "m9", "m", "n2", "n0", "mstd0.5", "inc1", "w3", "w9", "-", "x", ""]
)


@given(auto=st.lists(words, max_size=5).map("-".join), crop=st.sampled_from(["resized", "pad"]))
def test_any_policy_is_built_or_refused(auto: str, crop: Any) -> None:
    transform, error = attempt(RecipeError, training_transform, Augment(auto=auto, crop=crop), RGB)
    assert error.hint if error else callable(transform)


@pytest.mark.parametrize("crop", ["resized", "pad"])
def test_three_augment_is_one_of_grey_solarised_and_blurred_then_jittered(crop: Any) -> None:
    """DeiT III, section 3.2."""
    augment = Augment(crop=crop, auto="3a", color_jitter=0.3)
    pipeline: Any = training_transform(augment, Preprocessing(img_size=(16, 16)))
    steps = [part for step in pipeline.transforms for part in getattr(step, "transforms", [step])]
    place = next(i for i, step in enumerate(steps) if type(step).__name__ == "AutoAugment")
    policy = steps[place].policy
    assert {ops[0].name for ops in policy} == {"Desaturate", "Solarize", "GaussianBlurRand"}
    assert all(len(ops) == 1 and ops[0].prob == 1 for ops in policy)
    assert isinstance(steps[place + 1], transforms.ColorJitter)


@pytest.mark.parametrize("crop", ["resized", "pad"])
def test_autoaugment_for_cifar10_is_torchvisions_with_the_mean_as_fill(crop: Any) -> None:
    spec = Preprocessing(img_size=(32, 32), mean=(0.5, 0, 1))
    pipeline: Any = training_transform(Augment(crop=crop, auto="cifar10"), spec)
    step = next(step for step in pipeline.transforms if type(step).__name__ == "AutoAugment")
    assert (step.policy.value, step.fill) == ("cifar10", [128, 0, 255])
