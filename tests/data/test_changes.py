"""Changes to whole batches: what each does to a picture, and how often, as torchvision and timm do it one by one."""

import numpy as np
import torch
from timm.data.random_erasing import RandomErasing

from allmlp.data.changes import cut_out, erased, flipped, shifted
from allmlp.data.draws import Draws
from allmlp.data.keys import seed_everything
from allmlp.data.transforms import Cutout


def drawn(count: int, seed: int = 0) -> Draws:
    return Draws.keyed(seed, 0, torch.arange(count))


def test_shifts_are_uniform_and_bring_in_zeros() -> None:
    picture = torch.arange(1, 61, dtype=torch.uint8).reshape(1, 2, 6, 5)
    count = 4000
    moved = shifted(picture.expand(count, -1, -1, -1), 1, drawn(count))
    framed = torch.nn.functional.pad(picture[0], [1] * 4)
    every = {(y, x): framed[:, y : y + 6, x : x + 5] for y in range(3) for x in range(3)}
    seen = {place: int((moved == window).flatten(1).all(1).sum()) for place, window in every.items()}
    assert sum(seen.values()) == count  # nothing but the nine windows of the framed picture
    expected = count / 9
    chi_square = sum((n - expected) ** 2 / expected for n in seen.values())
    assert chi_square < 26.1  # 8 degrees of freedom: exceeded by chance once in a thousand seeds


def test_flips_mirror_whole_pictures_with_their_probability() -> None:
    picture = torch.arange(24).reshape(1, 2, 3, 4).expand(2000, -1, -1, -1)
    turned = (flipped(picture, 0.3, drawn(2000)) == picture.flip(-1)).flatten(1).all(1)
    kept = (flipped(picture, 0.3, drawn(2000)) == picture).flatten(1).all(1)
    assert (turned ^ kept).all()
    assert 0.26 < float(turned.double().mean()) < 0.34  # four standard deviations


def test_what_is_not_asked_for_changes_nothing() -> None:
    pictures = torch.rand(5, 3, 8, 8)
    for change in (shifted, flipped, erased, cut_out):
        assert change(pictures, 0, drawn(5)) is pictures


def test_pictures_given_are_left_alone() -> None:
    pictures = torch.zeros(50, 1, 8, 8)
    for change in (flipped, erased):
        change(pictures, 1.0, drawn(50))
        assert not pictures.any()


def test_erasing_covers_each_pixel_as_often_as_timms() -> None:
    count, shape = 4000, (2, 16, 12)
    ours = erased(torch.full((count, *shape), 9.0), 0.5, drawn(count))
    seed_everything(0, "image", 0, 0)
    theirs = RandomErasing(0.5, mode="pixel", device="cpu")(torch.full((count, *shape), 9.0))
    covered = [(images != 9.0).all(1).double() for images in (ours, theirs)]  # n h w
    share = (covered[0].mean(0) + covered[1].mean(0)) / 2
    error = (share * (1 - share) * 2 / count).sqrt()
    assert float(((covered[0].mean(0) - covered[1].mean(0)).abs() / error).max()) < 4.5  # of 192 pixels, all under it
    areas = [np.sort(c.sum((1, 2)).numpy()) for c in covered]
    apart = max(abs(np.searchsorted(areas[0], a, "right") - np.searchsorted(areas[1], a, "right")) for a in range(193))
    assert apart / count < 1.95 * (2 / count) ** 0.5  # Kolmogorov and Smirnov, once in a thousand seeds
    noise = ours[(ours != 9.0)]
    assert abs(float(noise.mean())) < 0.02
    assert abs(float(noise.std()) - 1) < 0.02


def test_erasing_is_one_rectangle_through_all_channels() -> None:
    images = erased(torch.full((200, 3, 10, 14), 9.0), 1.0, drawn(200))
    for image in images:
        moved = image != 9.0
        assert torch.equal(moved[0], moved[1])
        rows, columns = (torch.nonzero(moved[0].any(axis)).flatten() for axis in (1, 0))
        if len(rows):
            assert moved[0, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            assert moved[0].sum() == len(rows) * len(columns) < 140


def test_cutout_lays_a_square_around_any_pixel_in_batches_as_in_pictures() -> None:
    count, side = 3000, 4
    ours = cut_out(torch.ones(count, 2, 7, 6), side, drawn(count))
    seed_everything(0, "image", 0)
    theirs = torch.stack([Cutout(side)(torch.ones(2, 7, 6)) for _ in range(count)])
    squares = []
    for y in range(7):
        for x in range(6):
            square = torch.ones(7, 6)
            square[max(y - 2, 0) : y + 2, max(x - 2, 0) : x + 2] = 0
            squares.append(square)
    for images in (ours, theirs):
        assert torch.equal(images[:, 0], images[:, 1])
        seen = torch.stack([(images[:, 0] == square).flatten(1).all(1).sum() for square in squares])
        assert int(seen.sum()) == count  # one of the 42 places
        assert float(((seen - count / 42) ** 2 / (count / 42)).sum()) < 74.7  # 41 degrees of freedom: once in a thousand
