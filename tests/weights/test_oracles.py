"""The official releases' and timm's logits, from their own checkpoints of random weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from allmlp.errors import WeightsError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.weights.load import load_weights
from oracle import ORACLES, older

GOOGLE = ORACLES["mixer_official"]
TORCH = {name: oracle for name, oracle in ORACLES.items() if oracle is not GOOGLE}


def assert_logits(model: ImageModel, x: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        ours = model(x)
    assert float((ours - logits).abs().max() / logits.abs().max()) < 1e-5


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("form", ["tensors", "safetensors", "pth", "pth under model", "pth of DataParallel"])
def test_torch_releases_compute_their_logits(name: str, form: str, tmp_path: Path) -> None:
    oracle = TORCH[name]
    model, state, (x, logits) = oracle.model(), oracle.state(), oracle.answers()
    source: Any = state
    if form == "safetensors":
        source = tmp_path / "release.safetensors"
        save_file(state, source)
    elif form.startswith("pth"):
        source = tmp_path / "release.pth"
        wrapped: dict[str, Any] = {
            "pth": state,
            "pth under model": {"model": state, "epoch": 299},
            "pth of DataParallel": {"state_dict": {f"module.{k}": v for k, v in state.items()}},
        }
        torch.save(wrapped[form], source)
    assert load_weights(model, source) == oracle.layout
    assert_logits(model, x, logits)


@pytest.mark.parametrize("form", ["tensors", "npz", "older tensors", "older npz"])
def test_googles_mixer_computes_its_logits(form: str, tmp_path: Path) -> None:
    model, state, (x, logits) = GOOGLE.model(), GOOGLE.state(), GOOGLE.answers()
    if form.startswith("older"):
        state = older(state)
    source: Any = state
    if form.endswith("npz"):
        source = tmp_path / "Mixer-B_16.npz"
        np.savez(source, **{k: v.numpy() for k, v in state.items()})
    assert load_weights(model, source) == ("google, older" if form.startswith("older") else "google")
    assert_logits(model, x, logits)


def test_googles_mixer_needs_the_tanh_form_of_gelu() -> None:
    model, state, (x, logits) = GOOGLE.model(), GOOGLE.state(), GOOGLE.answers()
    exact = create_model("mixer", **{**model.hyperparameters, "act": "gelu"}).eval()
    load_weights(exact, state)
    with torch.no_grad():
        assert float((exact(x) - logits).abs().max() / logits.abs().max()) > 1e-5


@pytest.mark.parametrize("name", ORACLES)
def test_a_single_class_can_be_loaded_too(name: str) -> None:
    oracle = ORACLES[name]
    model, state, (x, logits) = oracle.model(), oracle.state(), oracle.answers()
    ends = {"head/kernel": 1, "head.weight": 0, "mlp_head.0.weight": 0, "head/bias": 0, "head.bias": 0, "mlp_head.0.bias": 0}
    ends |= {"classifier.weight": 0, "classifier.bias": 0}
    state = {k: v.narrow(ends[k], 2, 1).clone() if k in ends else v for k, v in state.items()}
    one = create_model(model.name, **{**model.hyperparameters, "num_classes": 1}).eval()
    load_weights(one, state)
    assert_logits(one, x, logits[:, 2:3])


@pytest.mark.parametrize("name", ORACLES)
def test_a_wrong_fit_is_listed_in_the_releases_words_and_changes_nothing(name: str) -> None:
    model, state = ORACLES[name].model(), ORACLES[name].state()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    gone, bent = sorted(k for k in state if k.endswith(("bias", "alpha", "scale", "beta")))[:2]
    state = {**state, bent: torch.zeros(2, 3, 4), "surplus.weight": torch.zeros(1)}
    del state[gone]
    with pytest.raises(WeightsError) as error:
        load_weights(model, state)
    said = error.value.what
    assert f"missing (1): {gone}" in said
    assert "misshaped (1): " in said
    assert f"{bent} is 2×3×4" in said or f"{bent} is 24" in said  # the layout may have flattened it
    assert "unexpected (1): surplus.weight" in said
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
