"""Corruptions against sums by hand; what they do not change; that they grow."""

import numpy as np
import pytest
import torch
from torch import Tensor

from allmlp.data.keys import generator
from allmlp.evaluation.corruptions import STRENGTHS, benchmark, corrupted

NOISES = ("gaussian_noise", "shot_noise", "impulse_noise")


def draw(number: int = 0) -> np.random.Generator:
    return generator(0, "corruption", 0, 1, number)


def scene(channels: int, height: int = 32, width: int = 48) -> Tensor:
    """Smooth shapes with edges and fine grain."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    layers = [
        0.5 + 0.3 * np.sin(9 * x + i) * np.cos(7 * y) + 0.15 * (np.hypot(x - 0.5, y - 0.5) < 0.3) for i in range(channels)
    ]
    grain = np.random.default_rng(0).normal(0, 0.03, (channels, height, width))
    return torch.from_numpy(((np.stack(layers) + grain).clip(0, 1) * 255).astype(np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", STRENGTHS)
def test_each_corruption_keeps_the_shape_and_grows_with_its_strength(name: str, channels: int) -> None:
    image = scene(channels)
    changed = [corrupted(image, name, strength, draw()) for strength in range(1, 6)]
    assert all(one.shape == image.shape and one.dtype == torch.uint8 for one in changed)
    apart = [float((one.double() - image.double()).abs().mean()) for one in changed]
    assert apart[0] > 0
    assert apart == sorted(apart)


@pytest.mark.parametrize("name", ["gaussian_blur", "contrast", "pixelate"])
def test_a_plain_image_stays_as_it_is(name: str) -> None:
    image = torch.full((3, 16, 24), 77, dtype=torch.uint8)
    assert torch.equal(corrupted(image, name, 5, draw()), image)


@pytest.mark.parametrize("name", NOISES)
def test_noise_follows_from_its_generator(name: str) -> None:
    image = scene(3)
    assert torch.equal(corrupted(image, name, 3, draw()), corrupted(image, name, 3, draw()))
    assert not torch.equal(corrupted(image, name, 3, draw()), corrupted(image, name, 3, draw(1)))


def test_brightness_raises_the_largest_channel_and_keeps_the_hue() -> None:
    image = torch.tensor([[[51, 0]], [[102, 0]], [[102, 0]]], dtype=torch.uint8)
    found = corrupted(image, "brightness", 1, draw())[:, 0].T.tolist()
    # 0.4 becomes 0.45: 51 · 1.125 = 57.4, 102 · 1.125 = 114.75; black becomes 0.05 · 255 = 12.75; all cut off
    assert found == [[57, 114, 114], [12, 12, 12]]


def test_contrast_draws_values_to_the_mean_of_their_channel() -> None:
    image = torch.tensor([[[0, 200]], [[50, 50]], [[0, 0]]], dtype=torch.uint8)
    assert corrupted(image, "contrast", 2, draw())[:, 0].tolist() == [[50, 150], [50, 50], [0, 0]]


def test_pixelating_takes_means_over_boxes() -> None:
    image = torch.arange(0, 160, 10, dtype=torch.uint8).reshape(1, 4, 4)
    boxes = [[25, 45], [105, 125]]  # means of 2 × 2, because 0.65 · 4 is 2
    assert corrupted(image, "pixelate", 5, draw())[0, ::2, ::2].tolist() == boxes


def test_blur_spreads_a_point_as_a_normal_density() -> None:
    image = torch.zeros(1, 17, 17, dtype=torch.uint8)
    image[0, 8, 8] = 255
    found = corrupted(image, "gaussian_blur", 5, draw())[0].double()
    density = torch.exp(-0.5 * (torch.arange(17.0) - 8).square()).double()
    density[(torch.arange(17) - 8).abs() > 4] = 0
    density /= density.sum()
    assert torch.allclose(found, (255 * torch.outer(density, density)).floor(), atol=1)


@pytest.mark.parametrize(("name", "strength"), [("gaussian_noise", 5), ("shot_noise", 5)])
def test_noise_has_the_size_it_says(name: str, strength: int) -> None:
    image = torch.full((3, 60, 60), 128, dtype=torch.uint8)
    expected = {"gaussian_noise": 0.10, "shot_noise": (128 / 255 / 50) ** 0.5}[name]  # Poisson's variance is its mean
    found = float(corrupted(image, name, strength, draw()).double().std()) / 255
    assert found == pytest.approx(expected, rel=0.03)  # of 10,800 values: a deviation is known to 0.7 %


def test_impulses_are_black_or_white_and_as_many_as_they_should_be() -> None:
    image = torch.full((3, 60, 60), 128, dtype=torch.uint8)
    values, counts = corrupted(image, "impulse_noise", 5, draw()).unique(return_counts=True)
    assert values.tolist() == [0, 128, 255]
    assert 1 - int(counts[1]) / 10800 == pytest.approx(0.07, abs=0.01)


def test_small_images_take_cifars_strengths_and_larger_ones_imagenets() -> None:
    assert benchmark((64, 32)) == "CIFAR-10-C"
    assert benchmark((32, 65)) == "ImageNet-C"
    assert all(len(values) == 5 for both in STRENGTHS.values() for values in both)
