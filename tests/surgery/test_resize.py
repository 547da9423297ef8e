"""A resized model is the same model on another grid."""

from typing import Any

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp.errors import ModelError
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold
from allmlp.surgery.resample import KERNELS, Resample, copied, magnified, overlap
from allmlp.surgery.resize import resize
from contract import SMALL, awake, build, images

every_model = pytest.mark.parametrize("name", SMALL)
ONE_GRID = [n for n in SMALL if n.startswith(("gmlp", "mixer", "resmlp", "vip_s14"))]
"""No padding, and one grid from the first block to the last: the constant-image law is exact."""


def precise(name: str, **changed: Any) -> ImageModel:
    return awake(build(name, **changed)).double().eval()


def features(model: ImageModel, image: Tensor) -> Tensor:  # b c h w → b c
    with torch.no_grad():
        return model.forward_head(model.forward_features(image), pre_logits=True)


@every_model
@pytest.mark.parametrize("kernel", KERNELS)
def test_the_same_size_is_the_identity(name: str, kernel: str) -> None:
    model = precise(name)
    resized = resize(model, model.img_size, kernel=kernel)
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(resized.state_dict()[key], tensor, rtol=0, atol=1e-15)  # a product with the identity


@every_model
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 2), (3, 1)])
def test_every_family_takes_every_grid(name: str, rows: int, columns: int) -> None:
    model = awake(build(name, in_chans=1)).eval()
    model.classes = tuple("abcde")
    size = (model.img_size[0] * rows, model.img_size[1] * columns)
    resized = resize(model, size)
    assert resized.img_size == resized.preprocessing.img_size == size
    assert (resized.classes, resized.name, resized.training) == (model.classes, model.name, False)
    assert resized(images(resized)).shape == (3, model.num_classes)
    back = resize(resized, model.img_size)
    assert {k: v.shape for k, v in back.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}


@every_model
def test_the_original_is_left_as_it_was_and_shares_nothing(name: str) -> None:
    model = build(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    resized = resize(model, (2 * model.img_size[0], model.img_size[1]))
    with torch.no_grad():
        for parameter in resized.parameters():
            parameter.add_(1)
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, before[key], rtol=0, atol=0)


@pytest.mark.parametrize("name", ONE_GRID)
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3), (4, 2)])
def test_a_constant_image_keeps_its_features(name: str, rows: int, columns: int) -> None:
    """1e-12: float64, a few dozen sums of a few dozen terms."""
    model = precise(name)
    height, width = model.img_size
    color = torch.randn(2, model.in_chans, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    small, large = (color.expand(-1, -1, h, w) for h, w in ((height, width), (rows * height, columns * width)))
    for kernel in ("copy", "area"):
        resized = resize(model, (rows * height, columns * width), kernel=kernel)
        torch.testing.assert_close(features(resized, large), features(model, small), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ONE_GRID)
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3)])
def test_an_image_of_repeated_patches_keeps_its_features(name: str, rows: int, columns: int) -> None:
    """More than a constant: where each patch stands rows × columns times, every token is computed as its one was."""
    model = precise(name)
    image = images(model).double()
    patch = model.hyperparameters["patch_size"]
    cells = image.unfold(2, patch, patch).unfold(3, patch, patch)  # b c y x h w
    cells = cells.repeat_interleave(rows, 2).repeat_interleave(columns, 3)
    large = cells.transpose(3, 4).flatten(2, 3).flatten(3)
    resized = resize(model, (large.shape[2], large.shape[3]), kernel="area", patches="same")
    torch.testing.assert_close(features(resized, large), features(model, image), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 2), (3, 2)])
def test_block_diagonal_mixer_is_the_mean_of_its_tiles(rows: int, columns: int) -> None:
    name = next(n for n in SMALL if n.startswith("mixer"))
    model = precise(name, img_size=(8, 16))
    resized = resize(model, (8 * rows, 16 * columns), "block_diagonal")
    image = images(resized).double()
    tiles = [image[:, :, 8 * i : 8 * i + 8, 16 * j : 16 * j + 16] for i in range(rows) for j in range(columns)]
    mean = torch.stack([features(model, tile) for tile in tiles]).mean(0)
    torch.testing.assert_close(features(resized, image), mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [n for n in ONE_GRID if not n.startswith("vip")])
def test_copies_compute_what_their_token_did_at_any_larger_grid(name: str) -> None:
    """Also where some tokens have two copies and others one: 2 × 2 tokens on a grid of 3 × 5."""
    model = precise(name, head="mean") if "head" in SMALL[name] else precise(name)
    image = images(model).double()
    rows, columns = (copied(2, wanted).argmax(1) for wanted in (3, 5))
    cells = image.unfold(2, 4, 4).unfold(3, 4, 4)[:, :, rows][:, :, :, columns]  # b c y x h w
    resized = resize(model, (12, 20), kernel="copy", patches="same")
    with torch.no_grad():
        before = model.forward_features(image).unflatten(1, (2, 2))  # b y x c
        after = resized.forward_features(cells.transpose(3, 4).flatten(2, 3).flatten(3)).unflatten(1, (3, 5))
    torch.testing.assert_close(after, before[:, rows][:, :, columns], rtol=1e-12, atol=1e-12)


WITH_MARGIN = [n for n in SMALL if n.startswith(("gmlp", "mixer", "resmlp", "ffonly"))]


@pytest.mark.parametrize("name", WITH_MARGIN)
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3), (3, 2)])
def test_patches_see_a_magnified_picture_as_they_saw_the_picture(name: str, rows: int, columns: int) -> None:
    model = precise(name)
    resized = resize(model, (rows * model.img_size[0], columns * model.img_size[1]))
    small, large = model.patches.proj, resized.patches.proj  # type: ignore[union-attr]
    cell = images(model).double()[:, :, :4, :4]
    drawn = cell.repeat_interleave(rows, 2).repeat_interleave(columns, 3)
    spare = [(k - d) // 2 for k, d in zip(large.kernel_size, drawn.shape[2:], strict=True)]  # type: ignore[union-attr, arg-type]
    noise = torch.randn(*cell.shape[:2], *large.kernel_size, dtype=torch.float64)  # type: ignore[union-attr, misc]
    noise[:, :, spare[0] : spare[0] + 4 * rows, spare[1] : spare[1] + 4 * columns] = drawn
    with torch.no_grad():
        torch.testing.assert_close(large(noise), small(cell), rtol=1e-12, atol=1e-12)  # type: ignore[operator]


@pytest.mark.parametrize("name", WITH_MARGIN)
@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (1, 3)])
def test_larger_and_back_is_the_model_it_was(name: str, rows: int, columns: int) -> None:
    model = precise(name)
    back = resize(resize(model, (rows * model.img_size[0], columns * model.img_size[1])), model.img_size)
    assert back.hyperparameters["patch_margin"] == (0, 0)
    for key, tensor in model.state_dict().items():
        torch.testing.assert_close(back.state_dict()[key], tensor, rtol=1e-12, atol=1e-14)


def test_magnified_by_hand() -> None:
    half = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(magnified(2, 4, 2.0), half, rtol=0, atol=0)
    # 1.5 cells each, in the middle of four: from 0.5 to 2 and from 2 to 3.5
    thirds = torch.tensor([[1 / 3, 2 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]], dtype=torch.float64)
    torch.testing.assert_close(magnified(2, 4, 1.5), thirds, rtol=0, atol=1e-15)


def test_no_patch_sees_less_than_its_own_square() -> None:
    model = precise("resmlp_xs")
    resized = resize(model, (16, 4))
    assert resized.hyperparameters["patch_margin"] == (2, 0)
    assert resize(resized, (12, 4)).hyperparameters["patch_margin"] == (1, 0)


def test_overlap_by_hand() -> None:
    third = 1 / 3
    expected = torch.tensor([[1, 0], [0.5, 0.5], [0, 1]], dtype=torch.float64)
    torch.testing.assert_close(overlap(2, 3), expected)
    torch.testing.assert_close(overlap(3, 2), torch.tensor([[2 * third, third, 0], [0, third, 2 * third]], dtype=torch.float64))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("now", "wanted"), [(4, 4), (8, 10), (8, 12), (14, 7), (5, 3), (1, 3)])
def test_rows_of_every_operator_sum_to_one(kernel: str, now: int, wanted: int) -> None:
    """1e-6: torch computes the weights of a low-pass filter in float32."""
    rows = KERNELS[kernel](now, wanted).sum(1)
    torch.testing.assert_close(rows, torch.ones(wanted, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kernel", "new"), [("area", (4, 9)), ("copy", (4, 9)), ("copy", (3, 5))])
def test_what_is_carried_up_comes_down_unchanged(kernel: str, new: tuple[int, int]) -> None:
    maps = Resample.between((2, 3), new, kernel)
    torch.testing.assert_close(maps.down @ maps.up, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-15)


def test_resampling_moves_rows_and_columns_as_torch_resizes_an_image() -> None:
    """The operator on raster order = torch's own image resizing, rows and columns not mixed up."""
    image = torch.randn(1, 1, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.interpolate(image, size=(6, 4), mode="bilinear", antialias=True)
    found = Resample.between((3, 5), (6, 4), "bilinear").outputs(image.flatten())
    torch.testing.assert_close(found, wanted.flatten(), rtol=0, atol=1e-6)  # its filter weights are float32


def test_sparse_mlp_axes_are_resized_each_by_itself() -> None:
    model = build("smlpnet_xs")
    height, width = model.img_size
    resized = resize(model, (height, 2 * width))
    old, new = (m.stages[0].blocks[0].sparse for m in (model, resized))  # type: ignore[index, union-attr]
    torch.testing.assert_close(new.along_rows.weight, old.along_rows.weight, rtol=0, atol=0)
    assert new.along_columns.weight.shape == (2 * old.along_columns.weight.shape[0],) * 2


def test_class_column_of_class_mlp_stays() -> None:
    name = next(n for n in SMALL if SMALL[n].get("head") == "class_mlp")
    model = build(name)
    resized = resize(model, 2 * model.img_size[0])
    for old, new in zip(model.class_blocks, resized.class_blocks, strict=True):  # type: ignore[arg-type]
        assert torch.equal(new.token_mix.weight[:, 0], old.token_mix.weight[:, 0])  # type: ignore[union-attr]
        torch.testing.assert_close(new.token_mix.weight.sum(), old.token_mix.weight.sum())  # type: ignore[union-attr]


@pytest.mark.parametrize("mixing", ["none", "mlp", "conv3x3", "depthwise3x3", "separable"])
def test_ablations_of_resmlp_are_resized_too(mixing: str) -> None:
    model = awake(build("resmlp_xs", token_mixing=mixing)).eval()
    resized = resize(model, (2 * model.img_size[0], model.img_size[1]))
    assert resized(images(resized)).shape == (3, model.num_classes)


def test_resized_models_fold_and_folded_ones_do_not_resize() -> None:
    resized = resize(build("resmlp_xs"), (16, 8)).eval()
    x = images(resized)
    torch.testing.assert_close(fold(resized)(x), resized(x))
    with pytest.raises(ModelError, match="folded") as caught:
        resize(fold(build("resmlp_xs")), 16)
    assert "resize the model, then fold" in caught.value.hint


def test_dtype_frozen_parameters_and_mode_are_kept() -> None:
    model = build("mixer_b16").bfloat16().train()
    model.patches.requires_grad_(False)
    resized = resize(model, 2 * model.img_size[0])
    assert resized.training
    assert {p.dtype for p in resized.parameters()} == {torch.bfloat16}
    frozen = {name for name, p in resized.named_parameters() if not p.requires_grad}
    assert frozen == {"patches.proj.weight", "patches.proj.bias"}


@pytest.mark.parametrize(
    ("change", "words", "hint"),
    [
        ({"img_size": 10}, "multiple of the patch", "use 8 or 12"),
        ({"img_size": (8, 8, 8)}, "neither an int nor", "img_size"),
        ({"img_size": 16, "method": "nearest"}, "method='nearest'", "interpolate"),
        ({"img_size": 16, "kernel": "lanczos"}, "kernel='lanczos'", "area"),
        ({"img_size": 12, "method": "block_diagonal"}, "whole tiles of 8 × 8", "(16, 16)"),
    ],
)
def test_impossible_sizes_say_what_fits(change: dict[str, Any], words: str, hint: str) -> None:
    with pytest.raises(ModelError) as caught:
        resize(build("mixer_b16"), **change)
    assert words in caught.value.what
    assert hint in caught.value.hint


def test_who_has_no_margin_says_so() -> None:
    for name, method in (("smlpnet_xs", "interpolate"), ("mixer_b16", "block_diagonal")):
        with pytest.raises(ModelError, match="is for Mixer, ResMLP, gMLP and FF-only, interpolated") as caught:
            resize(build(name), 16, method, patches="magnified")
        assert caught.value.hint == 'use patches="same"'
    with pytest.raises(ModelError, match="patches='wide' is not known"):
        resize(build("mixer_b16"), 16, patches="wide")
    with pytest.raises(ModelError, match="patch_margin=-1 is less than 0"):
        build("mixer_b16", patch_margin=-1)
    with pytest.raises(ModelError, match="neither an int nor"):
        build("mixer_b16", patch_margin=(1, 2, 3))


def test_block_diagonal_belongs_to_mixer() -> None:
    with pytest.raises(ModelError, match="MLP-Mixer's; this model is a resmlp"):
        allmlp.resize(build("resmlp_xs"), 16, "block_diagonal")
