"""Parts of pictures: where they lie, that they follow from keys alone, and that files give what memory gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp.data.colours import blurred, greyed, jittered, solarized, turned
from allmlp.data.draws import Draws
from allmlp.data.images import ArrayImages, FileImages
from allmlp.data.loader import Batch
from allmlp.data.views import HeldViews, Views, cut, view_batches
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Dino

SPEC = Preprocessing(img_size=(16, 16), crop_ratio=1.0, interpolation="bilinear")
PLAIN = Dino(local_crops=2, jitter_prob=0.0, grey=0.0, blur=(0.0, 0.0, 0.0), solarize=0.0)


def draws(count: int, seed: int = 0) -> Draws:
    return Draws.keyed(seed, 0, torch.arange(count))


def smooth(count: int) -> np.ndarray:
    """Pictures without fine detail, so that two ways to resize them agree."""
    y, x = np.mgrid[:32, :32] / 31
    return np.stack([np.stack([200 * x, 200 * y, 100 + 20 * i + 0 * x], -1).astype(np.uint8) for i in range(count)])


def test_the_whole_picture_cut_out_is_the_picture_and_its_mirror_image() -> None:
    pixels = torch.rand(2, 3, 8, 6)
    whole = torch.tensor([[0, 0, 8, 6]] * 2)
    found = cut(pixels, whole, (8, 6), torch.tensor([False, True]))
    assert torch.allclose(found[0], pixels[0], atol=1e-6)
    assert torch.allclose(found[1], pixels[1].flip(-1), atol=1e-6)


def test_a_box_cut_at_its_own_size_has_its_pixels() -> None:
    pixels = torch.rand(1, 1, 12, 12)
    found = cut(pixels, torch.tensor([[3, 5, 4, 6]]), (4, 6), torch.tensor([False]))
    assert torch.allclose(found, pixels[:, :, 3:7, 5:11], atol=1e-6)


def test_files_give_the_parts_that_memory_gives(tmp_path: Path) -> None:
    """But for how two resizers round: the same places, mirrored alike, in the same colours."""
    pixels = smooth(3)
    for i, picture in enumerate(pixels):
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    dino = replace(PLAIN, jitter_prob=0.8, grey=0.3)
    held = HeldViews(ArrayImages(pixels, [0, 1, 0], "x"), dino, SPEC, 7)
    files = Views(FileImages([str(tmp_path / f"{i}.png") for i in range(3)], [0, 1, 0]), dino, SPEC, 7)
    keys = [(4, 2), (4, 0), (5, 1)]
    one, two = held.__getitems__(keys), files.__getitems__(keys)
    assert one.labels.tolist() == two.labels.tolist() == [0, 0, 1]
    assert one.images.shape == two.images.shape == (3, 4, 3, 16, 16)
    assert (one.images - two.images).abs().mean() < 0.05 * one.images.std()


def test_parts_follow_from_seed_pass_and_index_and_from_no_neighbour() -> None:
    dino = Dino(local_crops=3, local_size=(8, 8))
    views = HeldViews(ArrayImages(smooth(4), [0] * 4, "x"), dino, SPEC, 1)
    both, alone = views.__getitems__([(0, 3), (0, 1)]), views.__getitems__([(0, 1)])
    assert both.images.shape == (2, 2, 3, 16, 16)
    assert both.crops is not None
    assert alone.crops is not None
    assert both.crops.shape == (2, 3, 3, 8, 8)
    assert torch.allclose(both.images[1], alone.images[0], atol=1e-5)
    assert torch.allclose(both.crops[1], alone.crops[0], atol=1e-5)
    assert not torch.allclose(alone.images, views.__getitems__([(1, 1)]).images, atol=1e-2)


def test_a_file_that_is_no_picture_is_left_out_and_named(tmp_path: Path) -> None:
    Image.fromarray(smooth(1)[0]).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    images = FileImages([str(tmp_path / "bad.png"), str(tmp_path / "good.png")], [0, 0])
    batch = Views(images, PLAIN, SPEC, 0).__getitems__([(0, 0), (0, 1)])
    assert batch.images.shape == (1, 4, 3, 16, 16)
    assert [Path(path).name for path, _ in batch.unreadable] == ["bad.png"]
    assert not len(Views(images, PLAIN, SPEC, 0).__getitems__([(0, 0)]).labels)


@pytest.mark.parametrize("world", [1, 2])
def test_processes_share_a_batch(world: int) -> None:
    images = ArrayImages(smooth(8), list(range(8)), "x")
    shares: list[Batch] = [
        next(iter(view_batches(images, PLAIN, SPEC, batch=4, seed=0, workers=0, rank=r, world=world))) for r in range(world)
    ]
    alone = next(iter(view_batches(images, PLAIN, SPEC, batch=4, seed=0, workers=0)))
    assert sorted(torch.cat([b.indices for b in shares]).tolist()) == sorted(alone.indices.tolist())


def test_hue_turned_all_the_way_is_the_picture_and_light_stays() -> None:
    pixels = torch.rand(5, 3, 4, 4)
    assert torch.allclose(turned(pixels, torch.full((5,), 2 * torch.pi, dtype=torch.float64)), pixels, atol=1e-5)
    light = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    half = turned(pixels, torch.full((5,), 2.0, dtype=torch.float64))
    assert torch.allclose((half * light).sum(1), (pixels * light).sum(1), atol=1e-4)
    assert not torch.allclose(half, pixels, atol=0.05)


def test_grey_pictures_do_not_change_hue() -> None:
    grey = torch.rand(4, 1, 6, 6).expand(-1, 3, -1, -1)
    found = jittered(grey, (0.0, 0.0, 0.5, 0.5), 1.0, draws(4))
    assert torch.allclose(found, grey, atol=1e-3)  # the axes of YIQ are published to six digits
    assert torch.allclose(greyed(grey, 1.0, draws(4)), grey, atol=1e-5)


def test_changes_come_as_often_as_asked_and_leave_the_others_alone() -> None:
    pixels = torch.rand(2000, 1, 4, 4)
    for change in (
        lambda p: jittered(pixels, (0.4, 0.4, 0.2, 0.1), p, draws(2000)),
        lambda p: blurred(pixels, p, draws(2000)),
        lambda p: solarized(pixels, p, draws(2000)),
    ):
        touched = (change(0.3) != pixels).any(-1).any(-1).any(-1).double().mean()
        assert abs(touched - 0.3) < 0.04
        assert torch.equal(change(0.0), pixels)


def test_a_blur_keeps_what_is_constant_and_the_mean_of_what_is_not() -> None:
    assert torch.allclose(blurred(torch.full((3, 3, 9, 9), 0.3), 1.0, draws(3)), torch.tensor(0.3), atol=1e-6)
    dot = torch.zeros(8, 1, 31, 31)
    dot[:, :, 15, 15] = 1
    found = blurred(dot, 1.0, draws(8))
    assert torch.allclose(found.sum((1, 2, 3)), torch.ones(8), atol=1e-5)
    assert (found[:, 0, 15, 15] < 1.0 + 1e-6).all()
    assert found[:, 0, 15, 15].min() < 0.3


def test_light_pixels_are_inverted() -> None:
    pixels = torch.tensor([0.0, 0.4, 0.6, 1.0]).reshape(1, 1, 2, 2)
    assert torch.allclose(solarized(pixels, 1.0, draws(1)).flatten(), torch.tensor([0.0, 0.4, 0.4, 0.0]))
