"""Features of a data set: each number by a matrix made by hand."""

from pathlib import Path

import pytest
import torch

from allmlp.errors import DataError, ModelError
from allmlp.explanation.dataset import agreement, explain_data, features, least_certain, nearest, nearest_to_middle, principal
from allmlp.models.base import ImageModel
from contract import SMALL, awake, build
from helpers import PictureFolder

FAMILIES = {build(name).family: name for name in SMALL}


def small() -> ImageModel:
    model = awake(build("resmlp_xs", img_size=(16, 24), num_classes=3))
    model.classes = ("ant", "bee", "cow")
    return model


def test_the_first_directions_are_those_of_the_greatest_variance() -> None:
    values = torch.tensor([[3.0, 0, 5], [-3, 0, 5], [0, 1, 5], [0, -1, 5]])
    coordinates, shares = principal(values)
    assert torch.allclose(coordinates, values[:, :2].double(), atol=1e-12)
    assert shares == pytest.approx([18 / 20, 2 / 20])


def test_features_along_one_direction_or_none_have_a_map_too() -> None:
    coordinates, shares = principal(torch.tensor([[2.0], [4.0]]))
    assert coordinates.tolist() == [[-1, 0], [1, 0]]
    assert shares == pytest.approx([1, 0])
    same, none = principal(torch.ones(3, 4))
    assert same.abs().max() == 0
    assert none == [0, 0]


def test_the_nearest_have_the_smallest_angle_whatever_their_size() -> None:
    values = torch.tensor([[1.0, 0], [0, 1], [100, 100], [-1, 0]])
    likeness, places = nearest(values, torch.tensor([[2.0, 0]]), 3)
    assert places.tolist() == [[0, 2, 1]]
    assert likeness[0].tolist() == pytest.approx([1, 0.5**0.5, 0])


def test_agreement_counts_neighbours_of_the_same_class_and_never_oneself() -> None:
    angles = torch.tensor([0.0, 0.1, 0.21, 2.0])
    values = torch.stack([angles.cos(), angles.sin()], 1)
    # nearest of each: 1, 0, 1, 2
    assert agreement(values, torch.tensor([0, 0, 1, 1]), count=1) == 3 / 4
    assert agreement(values, torch.tensor([0, 0, 0, 0])) == 1
    assert agreement(values, torch.tensor([0, 1, 2, 3])) == 0


def test_typical_is_what_is_most_like_the_mean_of_its_class() -> None:
    values = torch.tensor([[1.0, 0], [1, 1], [0, 1], [-2, 0], [-1, -0.1]])
    assert nearest_to_middle(values, torch.tensor([7, 7, 7, 2, 2]), most=2) == {2: [3, 4], 7: [1, 0]}


def test_confusing_is_what_gives_its_own_class_the_least() -> None:
    logits = torch.tensor([[9.0, 0], [0, 1], [0, 0], [0, 9]])
    assert least_certain(logits, torch.tensor([0, 0, 0, 1])) == {0: [1, 2, 0], 1: [3]}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_last_layer_makes_the_logits_of_the_features(family: str, picture_folder: PictureFolder) -> None:
    from allmlp.data.sources import open_labelled

    model = build(FAMILIES[family])
    model.classes = tuple(f"c{i}" for i in range(model.num_classes))
    images, _ = open_labelled(picture_folder({"c0": 2, "c1": 3}), model.classes)
    found = features(model, images, batch=2, quiet=True)
    assert found.values.shape == (5, model.num_features)
    assert found.labels.tolist() == [0, 0, 1, 1, 1]
    with torch.no_grad():
        assert torch.allclose(model.head(found.values), found.logits, atol=1e-5)


def test_a_data_set_is_shown_through_the_model_and_damaged_files_are_counted(picture_folder: PictureFolder) -> None:
    folder = picture_folder({"ant": 5, "cow": 3})
    content = (folder / "cow" / "2.png").read_bytes()
    (folder / "cow" / "2.png").write_bytes(content[: len(content) // 2])  # whole header, no end
    found = explain_data(small(), folder, quiet=True)
    assert (found.images, found.unreadable) == (7, 1)
    assert [(one.name, one.images, len(one.typical), len(one.confusing)) for one in found.classes] == [
        ("ant", 5, 4, 4),
        ("cow", 2, 2, 2),
    ]
    assert [near.query.path for near in found.near] == [one.confusing[0].path for one in found.classes]
    for near in found.near:
        assert near.query.path not in {shown.path for shown in near.neighbours}
        assert near.similarity == sorted(near.similarity, reverse=True)
    assert found.classes[0].typical[0].pixels.shape == (16, 24, 3)
    for one in found.classes:
        own = [shown.probability for shown in one.confusing]
        assert own == sorted(own)


def test_what_cannot_be_shown_is_told(picture_folder: PictureFolder, tmp_path: Path) -> None:
    model = small()
    with pytest.raises(DataError, match="classes that training has not"):
        explain_data(model, picture_folder({"ant": 2, "zebra": 2}), quiet=True)
    with pytest.raises(DataError, match="at least two images"):
        explain_data(model, tmp_path, limit=1)
    model.classes = None
    with pytest.raises(ModelError, match="names of its classes"):
        explain_data(model, tmp_path)
