"""Token-mixing weights set to zero, smallest first."""

import pytest
import torch

from allmlp.errors import DataError, ModelError
from allmlp.explanation.pruning import Pruned, least_kept, prune_curve
from allmlp.models.base import ImageModel
from allmlp.surgery.magnitude import largest
from contract import build
from helpers import PictureFolder


def small() -> ImageModel:
    model = build("resmlp_xs", num_classes=2, img_size=16)
    model.classes = ("cat", "dog")
    return model


def test_the_largest_weights_are_kept_whatever_their_sign() -> None:
    weight = torch.tensor([[0.5, -3.0], [2.0, -0.1]])
    assert largest(weight, 0.5).tolist() == [[0, -3], [2, 0]]
    assert torch.equal(largest(weight, 1), weight)
    assert not largest(weight, 0).any()


def test_all_weights_kept_is_the_model_itself_and_it_stays_as_it_was(picture_folder: PictureFolder) -> None:
    model = small()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    folder = picture_folder({"cat": 6, "dog": 6})
    whole, none = prune_curve(model, folder, kept=(1.0, 0.0), quiet=True)
    assert (whole.kept, whole.images) == (1.0, 12)
    assert none.loss != whole.loss
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with torch.no_grad():
        for block in model.blocks:
            block.token_mix.weight.zero_()
    assert prune_curve(model, folder, kept=(1.0,), quiet=True)[0].loss == none.loss


def test_images_are_taken_at_even_distances(picture_folder: PictureFolder) -> None:
    (row,) = prune_curve(small(), picture_folder({"cat": 6, "dog": 6}), kept=(1.0,), limit=4, quiet=True)
    assert row.images == 4


def test_the_least_share_is_the_last_before_the_loss_passes_a_point() -> None:
    tops = {1.0: 0.900, 0.5: 0.895, 0.2: 0.7, 0.1: 0.893}
    curve = [Pruned(kept=kept, top1=top1, loss=0.0, images=10) for kept, top1 in tops.items()]
    assert least_kept(curve) == 0.5
    assert least_kept(curve[:1]) == 1.0


def test_wrong_shares_missing_names_and_unknown_classes_are_named(picture_folder: PictureFolder) -> None:
    model = small()
    folder = picture_folder({"cat": 2, "wolf": 2})
    with pytest.raises(DataError, match=r"shares are in \[0, 1\]"):
        prune_curve(model, folder, kept=(1.5,))
    with pytest.raises(DataError, match="wolf"):
        prune_curve(model, folder, quiet=True)
    model.classes = None
    with pytest.raises(ModelError, match="names of its classes"):
        prune_curve(model, folder)
