"""Low rank: exact when it is full, the nearest there is when it is not, and a model like any other afterwards."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import allmlp
from allmlp.conversion.convert import convert
from allmlp.engine.cost import multiply_adds
from allmlp.errors import ModelError, WeightsError
from allmlp.models.base import ImageModel
from allmlp.operators import token_mixing
from allmlp.run import write_model
from allmlp.surgery.factor import factored, factors, ranks_for, token_maps
from allmlp.surgery.resize import resize
from contract import awake, build, images

FAMILIES = ("resmlp_s12", "resmlp_s12_class", "mixer_b16", "smlpnet_b")


def made(name: str, **words: Any) -> ImageModel:
    return awake(build(name, img_size=(16, 32) if name != "smlpnet_b" else 64, **words)).eval()


def off(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one - two).norm() / one.norm())


@pytest.mark.parametrize("name", FAMILIES)
def test_full_rank_is_the_model_to_rounding(name: str) -> None:
    model = made(name)
    full = [min(linear.weight.shape) for linear in token_maps(model).values()]
    given = images(model, 3)
    with torch.inference_mode():
        due = model(given)
        assert off(due, factored(model, full)(given)) < 1e-5
        assert off(due, factored(model, [0] * len(full))(given)) < 1e-6  # sums in another order
        assert off(due, factored(model, [1] * len(full))(given)) > 1e-3


def test_what_is_lost_is_the_tail_of_the_singular_values() -> None:
    matrix = torch.randn(7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(matrix)
    for rank in range(1, 8):
        down, up = factors(matrix, rank)
        assert (down.shape, up.shape) == ((rank, 5), (7, rank))
        assert float((matrix - up @ down).norm()) == pytest.approx(float(values[rank:].norm()), abs=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_low_rank_is_kept_resized_compiled_and_explained_like_any_other(name: str, tmp_path: Path) -> None:
    whole = made(name)
    ranks = [1 + i % 2 for i in range(len(token_maps(whole)))]
    model = factored(whole, ranks).eval()
    write_model(tmp_path / "low.safetensors", model.state_dict(), json.loads(json.dumps(model.card())))
    again, given = allmlp.load(tmp_path / "low.safetensors"), images(model, 3)
    for (path, linear), rank in zip(token_maps(whole).items(), ranks, strict=True):  # the whole model of these products
        with torch.no_grad():
            linear.weight.copy_(model.get_submodule(path).weight)
        assert model.get_submodule(path).rank == rank
    larger = [2 * side for side in model.img_size]
    with torch.inference_mode():
        due = whole(given)
        assert torch.equal(again(given), model(given))
        assert off(due, model(given)) < 1e-5
        assert off(due, allmlp.fold(model)(given)) < 1e-5
        assert off(due, allmlp.compile(model, backend="torch", precision="fp32", keep=False)(given)) < 1e-5
        one, two = (resize(m, (larger[0], larger[1])) for m in (whole, model))
        assert off(one(images(one, 2)), two(images(one, 2))) < 1e-5
    for ours, theirs in zip(token_mixing(model), token_mixing(whole), strict=True):
        assert torch.allclose(ours.matrices, theirs.matrices, atol=1e-6)
        assert all(model.get_parameter(parameter) is not None for parameter in ours.weights)
    with pytest.raises(WeightsError, match="has no name for"):
        convert(tmp_path / "low.safetensors", to="official", out=tmp_path / "theirs.pth")


def test_multiply_adds_of_two_factors_are_counted() -> None:
    model = build("resmlp_s12", img_size=32, depth=1, dim=8)  # 64 tokens
    saved = multiply_adds(model) - multiply_adds(factored(model, [4]))
    assert saved == 8 * (64 * 64 - 2 * 4 * 64)


def test_ranks_follow_what_is_asked_and_leave_whole_what_would_grow() -> None:
    model = build("mixer_b16", img_size=(16, 16), depth=1, token_hidden=6)  # 6 × 16 and 16 × 6: below rank 96 / 22
    assert ranks_for(model, rank=4) == (4, 4)
    with pytest.raises(ModelError, match=r"no smaller than any of the matrices\n.*6×16 below rank 5, 16×6 below rank 5"):
        ranks_for(model, rank=5)
    values = torch.tensor([4.0, 2.0, 1.0, 0.0, 0.0, 0.0])
    with torch.no_grad():
        for linear in token_maps(model).values():
            linear.weight.zero_()
            linear.weight.diagonal().copy_(values)
    assert ranks_for(model, energy=16 / 21) == (1, 1)  # 16 + 4 + 1
    assert ranks_for(model, energy=0.9) == (2, 2)
    assert ranks_for(model, energy=1) == (3, 3)


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("gmlp_b", {}, "not offered for gmlp"),
        ("resmlp_s12", {"token_mixing": "mlp"}, "mixes tokens otherwise than by whole matrices"),
        ("resmlp_s12", {"token_rank": 2}, "mixes tokens otherwise than by whole matrices"),
    ],
)
def test_others_are_refused(name: str, words: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        ranks_for(build(name, **words), rank=1)


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("resmlp_s12", {"token_rank": (1, 2, 3)}, "token_rank has 3 values for 2 matrices"),
        ("resmlp_s12", {"token_rank": 0}, "token_rank=0 is less than 1"),
        ("resmlp_s12", {"token_rank": "4"}, "is not a list of whole numbers"),
        ("resmlp_s12", {"token_rank": 2, "token_mixing": "mlp"}, "token_rank is for a matrix, not 'mlp'"),
        ("mixer_b16", {"token_rank": (1, -1, 1, 1)}, "is less than 0"),
    ],
)
def test_wrong_ranks_are_one_clear_error(name: str, words: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        build(name, **words)
