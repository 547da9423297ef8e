"""Pictures become normalised tensors, as torchvision's two steps make them, to the bit."""

import pytest
import torch
from torchvision import transforms

from allmlp.pixels.preprocess import IMAGENET_MEAN, IMAGENET_STD
from allmlp.pixels.tensor import ToNormalised, in_one_buffer
from helpers import picture


@pytest.mark.parametrize(("mode", "mean", "std"), [("RGB", IMAGENET_MEAN, IMAGENET_STD), ("L", (0.2860,), (0.3530,))])
def test_one_buffer_equals_two_steps(mode: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    given = picture(0, (37, 23), mode)
    theirs = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean, std)])(given)
    ours = ToNormalised(mean, std)(given)
    assert torch.equal(ours, theirs)
    assert ours.is_contiguous()


def test_a_picture_is_not_changed_by_its_tensor() -> None:
    given = picture(1)
    before = given.tobytes()
    ToNormalised(IMAGENET_MEAN, IMAGENET_STD)(given).zero_()
    assert given.tobytes() == before


def test_only_neighbours_become_one() -> None:
    normalize = transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD)
    flip = transforms.RandomHorizontalFlip()
    assert [type(s) for s in in_one_buffer([flip, transforms.ToTensor(), normalize, flip])] == [
        type(flip),
        ToNormalised,
        type(flip),
    ]
    apart = [transforms.ToTensor(), flip, normalize]
    assert in_one_buffer(apart) == apart
