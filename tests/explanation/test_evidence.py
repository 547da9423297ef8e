"""Evidence adds up to the logit, and lies where it is."""

import pytest
import torch

from allmlp.errors import ModelError
from allmlp.explanation.evidence import (
    edges,
    gradient_times_input,
    integrated_gradients,
    occlusion,
    patch_evidence,
    per_cell,
    step_evidence,
)
from contract import SMALL, awake, build, images

POOLED = sorted(name for name in SMALL if not name.endswith("_class") and not name.startswith(("ffonly", "eamlp")))


@pytest.mark.parametrize(("kind", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("size", [(16, 16), (24, 8)])
def test_resmlp_evidence_sums_to_the_logit(kind: torch.dtype, tolerance: float, size: tuple[int, int]) -> None:
    model = awake(build("resmlp_xs", img_size=size)).eval().to(kind)
    (image,) = images(model, 1).to(kind)
    shares, bias = patch_evidence(model, image)
    assert shares.shape == (5, size[0] // 4, size[1] // 4)
    torch.testing.assert_close(shares.sum((1, 2)) + bias, model(image[None])[0], atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", POOLED)
def test_the_same_holds_for_every_family_that_pools_by_the_mean(name: str) -> None:
    model = awake(build(name)).eval().double()
    (image,) = images(model, 1).double()
    shares, bias = patch_evidence(model, image)
    torch.testing.assert_close(shares.sum((1, 2)) + bias, model(image[None])[0], atol=1e-11, rtol=0)


def test_the_evidence_of_a_token_stands_where_its_patch_does() -> None:
    model = awake(build("resmlp_xs", img_size=(16, 24), token_mixing="none")).eval()
    (image,) = images(model, 1)
    changed = image.clone()
    changed[:, 4:8, 20:24] += 1  # the patch in row 1, column 5
    difference = (patch_evidence(model, changed)[0] - patch_evidence(model, image)[0]).abs().amax(0)
    assert difference.nonzero().tolist() == [[1, 5]]


def test_evidence_of_resmlps_last_step_and_the_head_of_nothing_sum_to_the_logit() -> None:
    model = awake(build("resmlp_xs", img_size=(16, 24))).eval().double()
    (image,) = images(model, 1).double()
    last = step_evidence(model, image, 3)[-1]
    assert last.shape == (4, 6)
    with torch.no_grad():
        tokens, _ = model.forward_intermediates(image[None], indices=1)
        nothing = model.forward_head(model.end(torch.zeros_like(tokens)))
        torch.testing.assert_close(last.sum() + nothing[0, 3], model(image[None])[0, 3])


@pytest.mark.parametrize("name", SMALL)
def test_every_family_has_evidence_at_each_of_its_steps(name: str) -> None:
    model = awake(build(name)).eval()
    (image,) = images(model, 1)
    maps = model.forward_intermediates(image[None], intermediates_only=True)
    found = step_evidence(model, image, 1)
    assert [one.shape for one in found] == [one.shape[2:] for one in maps]
    assert all(one.isfinite().all() for one in found)
    assert all(one.any() for one in found[:-1]), "only of the last step may a class token be all that counts"


@pytest.mark.parametrize("family", ["resmlp_s12_class", "ffonly", "eamlp"])
def test_class_tokens_have_no_sum_over_patches(family: str) -> None:
    model = build(next(name for name in SMALL if name.startswith(family))).eval()
    with pytest.raises(ModelError, match="no sum over patches"):
        patch_evidence(model, images(model, 1)[0])


@pytest.mark.parametrize("name", ["resmlp_xs", "resmlp_s12_class"])
def test_integrated_gradients_are_complete(name: str) -> None:
    model = awake(build(name)).eval().double()
    (image,) = images(model, 1).double()
    with torch.no_grad():
        difference = float(model(image[None])[0, 2] - model(torch.zeros_like(image)[None])[0, 2])
    found = float(integrated_gradients(model, image, 2, points=256).sum())
    assert found == pytest.approx(difference, rel=1e-3, abs=1e-5)  # the midpoint rule, whose error falls with points²


def test_gradient_times_input_of_a_linear_model_is_complete() -> None:
    model = awake(build("resmlp_xs")).eval().double()
    with torch.no_grad():
        for block in model.blocks:
            block.channel_mlp.fc2.weight.zero_()
    (image,) = images(model, 1).double()
    whole = gradient_times_input(model, image, 1).sum() + model(torch.zeros_like(image)[None])[0, 1]
    torch.testing.assert_close(whole, model(image[None])[0, 1])


def test_occlusion_is_what_covering_a_cell_costs_the_logit() -> None:
    model = awake(build("resmlp_xs", img_size=(16, 24))).eval()
    (image,) = images(model, 1)
    covered = image.clone()
    covered[:, 8:12, 4:8] = 0
    with torch.no_grad():
        expected = (model(image[None]) - model(covered[None]))[0, 3]
    torch.testing.assert_close(occlusion(model, image, 3, (4, 6))[2, 1], expected, atol=1e-6, rtol=1e-5)


def test_cells_by_hand() -> None:
    values = torch.arange(12.0).reshape(3, 4)
    assert per_cell(values, (1, 2)).tolist() == [[0 + 1 + 4 + 5 + 8 + 9, 2 + 3 + 6 + 7 + 10 + 11]]
    assert edges(7, 3) == [0, 2, 5, 7]
