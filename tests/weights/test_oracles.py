"""The official releases' and timm's logits, from their own checkpoints of random weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from allmlp.errors import WeightsError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.weights.load import load_weights

ORACLES = Path(__file__).parent.parent / "oracles"
Oracle = tuple[ImageModel, dict[str, Tensor], Tensor, Tensor]

# file: (layout, family, our hyper-parameters from theirs)
TORCH: dict[str, Any] = {
    "mixer_timm": ("timm", "mixer", lambda c: dict(dim=c["embed_dim"], depth=c["num_blocks"], patch_size=c["patch_size"])),
    "resmlp": ("deit", "resmlp", lambda c: dict(dim=c["embed_dim"], depth=c["depth"], patch_size=c["patch_size"])),
    "resmlp_timm": ("timm", "resmlp", lambda c: dict(dim=c["embed_dim"], depth=c["num_blocks"], patch_size=c["patch_size"])),
    "gmlp_timm": ("timm", "gmlp", lambda c: dict(dim=c["embed_dim"], depth=c["num_blocks"], patch_size=c["patch_size"])),
    "eamlp": (
        "eanet",
        "eamlp",
        lambda c: dict(dim=c["embed_dim"], depth=c["depth"], heads=c["num_heads"], expansion=c["mlp_ratio"]),
    ),
    "ff_only": (
        "ff-only",
        "ffonly",
        lambda c: dict(dim=c["embed_dim"], depth=c["depth"], patch_size=c["patch_size"], expansion=c["mlp_ratio"]),
    ),
    "vip": (
        "vip",
        "vip",
        lambda c: dict(
            dims=c["embed_dims"],
            depths=c["layers"],
            segments=c["segment_dim"],
            patch_size=c["patch_size"],
            transitions=c["transitions"][:-1],
            expansions=c["mlp_ratios"],
        ),
    ),
    "asmlp": (
        "as-mlp",
        "asmlp",
        lambda c: dict(dim=c["embed_dim"], depths=c["depths"], patch_size=c["patch_size"], shift=c["shift_size"]),
    ),
    "convmlp": (
        "convmlp",
        "convmlp",
        lambda c: dict(
            channels=c["channels"],
            dims=c["dims"],
            depths=c["blocks"],
            expansions=c["mlp_ratios"],
            conv_blocks=c["n_conv_blocks"],
        ),
    ),
    "raftmlp": (
        "raft-mlp",
        "raftmlp",
        lambda c: dict(
            dims=[level["dim"] for level in c["layers"]],
            depths=[level["depth"] for level in c["layers"]],
            patch_sizes=[level["patch_size"] for level in c["layers"]],
            rafts=[level["raft_size"] for level in c["layers"]],
            kernels=[level["embedding_kernels"] for level in c["layers"]],
            shortcut=c["shortcut"],
        ),
    ),
    "repmlpnet": (
        "repmlp",
        "repmlpnet",
        lambda c: dict(
            dim=c["channels"][0],
            depths=c["num_blocks"],
            patch_size=c["patch_size"][0],
            sharesets=c["sharesets_nums"],
            kernels=c["reparam_conv_k"],
        ),
    ),
    "smlpnet": ("spach", "smlpnet", lambda c: dict(dim=c["dim"], depths=tuple(c["depths"]), patch_size=c["patch_size"])),
}


def torch_oracle(name: str) -> Oracle:
    """(fresh model, their state dict, input, logits)."""
    _, family, ours = TORCH[name]
    with safe_open(ORACLES / f"{name}.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
    tensors = load_file(ORACLES / f"{name}.safetensors")
    state = {k.removeprefix("state_dict."): v for k, v in tensors.items() if k.startswith("state_dict.")}
    x, logits = tensors["input"], tensors["logits"]
    model = create_model(family, img_size=tuple(x.shape[2:]), num_classes=logits.shape[1], **ours(config)).eval()
    return model, state, x, logits


def google_oracle() -> Oracle:
    config = json.loads((ORACLES / "mixer_official.json").read_text())
    with np.load(ORACLES / "mixer_official.npz") as file:
        state = {name: torch.from_numpy(file[name]) for name in file.files}
    with np.load(ORACLES / "mixer_official_io.npz") as file:
        x, logits = torch.from_numpy(file["input"]), torch.from_numpy(file["logits"])
    model = create_model(
        "mixer",
        act="gelu_tanh",
        dim=config["hidden_dim"],
        depth=config["num_blocks"],
        patch_size=config["patch_size"],
        token_hidden=config["tokens_mlp_dim"],
        channel_hidden=config["channels_mlp_dim"],
        img_size=config["img_size"],
        num_classes=config["num_classes"],
    ).eval()
    return model, state, x, logits


def older(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names of Google's first release for the tensors of its later one."""
    renames = {
        "stem/": "embedding/",
        "MixerBlock_": "Mixer/encoderblock_",
        "pre_head_layer_norm": "Mixer/encoder_norm",
        "_mixing/Dense_0/kernel": "_mixing_phase_0/kernel1",
        "_mixing/Dense_0/bias": "_mixing_phase_0/bias1",
        "_mixing/Dense_1/kernel": "_mixing_phase_0/kernel2",
        "_mixing/Dense_1/bias": "_mixing_phase_0/bias2",
    }
    found = {}
    for name, tensor in state.items():
        for new, old in renames.items():
            name = name.replace(new, old)
        found[name] = tensor
    return found


def assert_logits(model: ImageModel, x: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        ours = model(x)
    assert float((ours - logits).abs().max() / logits.abs().max()) < 1e-5


@pytest.mark.parametrize("name", TORCH)
@pytest.mark.parametrize("form", ["tensors", "safetensors", "pth", "pth under model", "pth of DataParallel"])
def test_torch_releases_compute_their_logits(name: str, form: str, tmp_path: Path) -> None:
    model, state, x, logits = torch_oracle(name)
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
    assert load_weights(model, source) == TORCH[name][0]
    assert_logits(model, x, logits)


@pytest.mark.parametrize("form", ["tensors", "npz", "older tensors", "older npz"])
def test_googles_mixer_computes_its_logits(form: str, tmp_path: Path) -> None:
    model, state, x, logits = google_oracle()
    if form.startswith("older"):
        state = older(state)
    source: Any = state
    if form.endswith("npz"):
        source = tmp_path / "Mixer-B_16.npz"
        np.savez(source, **{k: v.numpy() for k, v in state.items()})
    assert load_weights(model, source) == ("google, older" if form.startswith("older") else "google")
    assert_logits(model, x, logits)


def test_googles_mixer_needs_the_tanh_form_of_gelu() -> None:
    model, state, x, logits = google_oracle()
    exact = create_model("mixer", **{**model.hyperparameters, "act": "gelu"}).eval()
    load_weights(exact, state)
    with torch.no_grad():
        assert float((exact(x) - logits).abs().max() / logits.abs().max()) > 1e-5


def oracles() -> list[Any]:
    ours = [pytest.param(lambda name=name: torch_oracle(name), id=name) for name in TORCH]
    return [pytest.param(google_oracle, id="google"), *ours]


@pytest.mark.parametrize("oracle", oracles())
def test_a_single_class_can_be_loaded_too(oracle: Any) -> None:
    model, state, x, logits = oracle()
    ends = {"head/kernel": 1, "head.weight": 0, "mlp_head.0.weight": 0, "head/bias": 0, "head.bias": 0, "mlp_head.0.bias": 0}
    ends |= {"classifier.weight": 0, "classifier.bias": 0}
    state = {k: v.narrow(ends[k], 2, 1).clone() if k in ends else v for k, v in state.items()}
    one = create_model(model.name, **{**model.hyperparameters, "num_classes": 1}).eval()
    load_weights(one, state)
    assert_logits(one, x, logits[:, 2:3])


@pytest.mark.parametrize("oracle", oracles())
def test_a_wrong_fit_is_listed_in_the_releases_words_and_changes_nothing(oracle: Any) -> None:
    model, state, _, _ = oracle()
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
