"""Features measured by neighbours and by a linear classifier: against sums by hand, and where the answer is known."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp import neighbours
from allmlp.cli import main
from allmlp.errors import DataError
from allmlp.evaluation.linear import RATES, linear_probe
from allmlp.neighbours import knn_top1
from helpers import picture


def clouds(count: int, seed: int, apart: float) -> tuple[Tensor, Tensor]:  # → n c, n
    """Three classes around three corners."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return torch.randn(count, 8, generator=generator) + apart * torch.eye(3, 8)[labels], labels


def test_the_vote_by_hand() -> None:
    # cosines with (1, 0): 1, 0.6, 0.6; alone the first wins, at temperature 1 the two others weigh 2 e^0.6 > e
    voters = torch.tensor([[2.0, 0.0], [0.6, 0.8], [3.0, -4.0]])
    labels, asked = torch.tensor([0, 1, 1]), torch.tensor([[5.0, 0.0]])
    assert 2 * math.exp(0.6) > math.exp(1) > math.exp(0.6)
    for due, right in ((0, {1: 1.0, 2: 1.0, 3: 0.0}), (1, {1: 0.0, 2: 0.0, 3: 1.0})):
        assert knn_top1(voters, labels, asked, torch.tensor([due]), neighbours=(1, 2, 3), temperature=1.0) == right
    # at 0.07 nearness counts for more than number: e^(1/0.07) > 2 e^(0.6/0.07)
    assert knn_top1(voters, labels, asked, torch.tensor([0]), neighbours=(3, 10)) == {3: 1.0}


def test_parts_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    voters, labels = clouds(90, 0, 1.0)
    asked, due = clouds(50, 1, 1.0)
    whole = knn_top1(voters, labels, asked, due, neighbours=(1, 5, 20))
    monkeypatch.setattr(neighbours, "CHUNK_BYTES", 4 * 90 * 7)
    assert knn_top1(voters, labels, asked, due, neighbours=(1, 5, 20)) == whole


def test_a_class_that_nobody_voted_for_is_wrong_and_no_error() -> None:
    assert knn_top1(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), torch.tensor([2, 7]), neighbours=(1,)) == {1: 0.0}


def test_what_is_far_apart_is_learnt_and_what_is_noise_is_not() -> None:
    taught, labels = clouds(600, 0, 6.0)
    asked, due = clouds(300, 1, 6.0)
    found = linear_probe(taught, labels, asked, due, classes=3, quiet=True)
    assert found.top1 > 0.99
    assert found.rate in RATES
    assert found.sweep[found.rate] == max(found.sweep.values())
    chance = torch.randint(0, 3, (600,), generator=torch.Generator().manual_seed(5))
    assert abs(linear_probe(taught, chance, asked, due, classes=3, quiet=True).top1 - 1 / 3) < 0.15


def test_scale_and_offset_of_features_do_not_matter_and_the_seed_decides() -> None:
    taught, labels = clouds(300, 0, 1.0)
    asked, due = clouds(200, 1, 1.0)
    one = linear_probe(taught, labels, asked, due, classes=3, quiet=True)
    again = linear_probe(taught * 1000 - 7, labels, asked * 1000 - 7, due, classes=3, quiet=True)
    assert abs(one.top1 - again.top1) <= 0.01
    assert linear_probe(taught, labels, asked, due, classes=3, quiet=True) == one


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Noise of two brightnesses, in two classes that no model of ours knows."""
    for split, count in (("train", 15), ("val", 6)):
        for label, shift in (("dim", 0.2), ("bright", 0.9)):
            folder = tmp_path / "data" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                drawn = picture({"train": 0, "val": 500}[split] + number, (20, 20)).point(
                    lambda v, s=shift: int(v * 0.1 + 220 * s)
                )
                drawn.save(folder / f"{number}.png")
    return tmp_path / "data"


def test_features_of_a_released_model_tell_other_classes(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "smlpnet_xs.cifar10", str(pictures), "--knn", "--linear", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["training_images"], result["images"], result["classes"], result["split"]) == (30, 12, 2, "validation")
    assert result["knn"]["top1"] == {"10": 1.0, "20": 1.0}  # 100 neighbours are more than there are
    assert result["linear"]["top1"] == 1.0
    assert main(["evaluate", "smlpnet_xs.cifar10", str(pictures), "--knn"]) == 0
    shown = capsys.readouterr().out
    assert "10 nearest neighbours" in shown
    assert "linear" not in shown


def test_mistakes_are_told(pictures: Path) -> None:
    with pytest.raises(DataError, match="no images of their own"):
        allmlp.evaluate("smlpnet_xs.cifar10", knn=True, quiet=True)
    for file in list((pictures / "train").rglob("*.png")):
        if int(file.stem) > 3:
            file.unlink()
    with pytest.raises(DataError, match="8 training images are too few"):
        allmlp.evaluate("smlpnet_xs.cifar10", pictures, linear=True, quiet=True)
