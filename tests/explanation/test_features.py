"""Feature maps, and one picture after another."""

from pathlib import Path

import numpy as np
import pytest
import torch

from allmlp.errors import ModelError
from allmlp.explanation.features import feature_maps, liveliest
from allmlp.explanation.pictures import Picture, explain_pictures, seen
from allmlp.pixels.read import UnreadableImage
from contract import awake, build, images
from helpers import picture


def test_the_channels_that_vary_most_come_first_about_their_mean() -> None:
    maps = torch.stack([torch.full((2, 2), 9.0), torch.tensor([[0.0, 0], [0, 8]]), torch.tensor([[1.0, 3], [3, 1]])])
    shown = liveliest(maps.double(), 2)
    assert shown[0].tolist() == [[-1 / 3, -1 / 3], [-1 / 3, 1]]
    assert shown[1].tolist() == [[-1, 1], [1, -1]]
    assert not liveliest(maps.double(), 3)[2].any()


def test_every_step_has_its_own_grid() -> None:
    model = build("smlpnet_xs", img_size=(16, 32))
    first, last = feature_maps(model, images(model, 1)[0], [0, 1], most=4)
    assert first.shape == (4, 4, 8)
    assert last.shape == (4, 2, 4)


def test_the_picture_shown_is_the_one_the_model_sees(tmp_path: Path) -> None:
    model = build("resmlp_xs", img_size=(16, 24))
    original = picture(3, (24, 16))
    model.preprocessing = model.preprocessing.fit(img_size=(16, 24), in_chans=3)
    image = torch.from_numpy(np.array(original)).permute(2, 0, 1) / 255 - torch.tensor(model.preprocessing.mean)[:, None, None]
    image = image / torch.tensor(model.preprocessing.std)[:, None, None]
    assert np.array_equal(seen(model, image), np.array(original))


def test_bad_pictures_are_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    model = awake(build("resmlp_xs", img_size=(16, 24))).eval()
    paths = [str(tmp_path / name) for name in ("bad.png", "good.png", "gone.png")]
    bad, good, gone = explain_pictures(model, paths, [0])
    assert isinstance(bad, UnreadableImage)
    assert isinstance(gone, UnreadableImage)
    assert isinstance(good, Picture)
    best, second = good.classes
    assert best.probability >= second.probability
    assert best.name.startswith("class ")  # whose names nobody knows
    assert best.patches is not None
    assert best.bias is not None
    assert float(best.patches.sum()) + best.bias == pytest.approx(best.logit, abs=1e-5)
    assert best.gradients.shape == best.occlusion.shape == best.patches.shape == (4, 6)
    assert abs(best.gap) < 0.02


def test_a_model_with_a_class_token_is_explained_by_gradients_and_covering(tmp_path: Path) -> None:
    picture(0).save(tmp_path / "good.png")
    (good,) = explain_pictures(awake(build("resmlp_s12_class")), [str(tmp_path / "good.png")], [0])
    assert isinstance(good, Picture)
    assert good.classes[0].patches is None
    assert good.classes[0].occlusion.shape == (2, 2)


def test_a_model_without_classes_is_refused() -> None:
    with pytest.raises(ModelError, match="has no classes"):
        list(explain_pictures(build("resmlp_xs", num_classes=0), ["x.png"], [0]))
