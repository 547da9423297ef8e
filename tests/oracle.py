"""What tests/oracles holds: small models with random weights in a release's layout, an input, and the release's logits."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from allmlp.models import create_model
from allmlp.models.base import ImageModel

FOLDER = Path(__file__).parent / "oracles"


@dataclass(frozen=True)
class Oracle:
    """One release."""

    file: str
    layout: str
    family: str
    ours: Callable[[dict[str, Any]], dict[str, Any]]
    """Their hyper-parameters → ours, without the image's size and the number of classes."""

    def state(self) -> dict[str, Tensor]:
        """The checkpoint, as released."""
        if self.file.endswith(".npz"):
            with np.load(FOLDER / self.file) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        tensors = load_file(FOLDER / self.file)
        return {k.removeprefix("state_dict."): v for k, v in tensors.items() if k.startswith("state_dict.")}

    def answers(self) -> tuple[Tensor, Tensor]:
        """(input, logits)."""
        if self.file.endswith(".npz"):
            with np.load(FOLDER / self.file.replace(".npz", "_io.npz")) as arrays:
                return torch.from_numpy(arrays["input"]), torch.from_numpy(arrays["logits"])
        tensors = load_file(FOLDER / self.file)
        return tensors["input"], tensors["logits"]

    def hyper(self) -> dict[str, Any]:
        """Everything that makes the model, in our words."""
        if self.file.endswith(".npz"):
            config = json.loads((FOLDER / self.file).with_suffix(".json").read_text())
        else:
            with safe_open(FOLDER / self.file, "pt") as file:
                config = json.loads(file.metadata()["config"])
        x, logits = self.answers()
        return {**self.ours(config), "img_size": tuple(x.shape[2:]), "num_classes": logits.shape[1]}

    def model(self) -> ImageModel:
        """With fresh weights, in evaluation mode."""
        return create_model(self.family, **self.hyper()).eval()


ORACLES = {
    "mixer_official": Oracle(
        "mixer_official.npz",
        "google",
        "mixer",
        lambda c: dict(
            act="gelu_tanh",
            dim=c["hidden_dim"],
            depth=c["num_blocks"],
            patch_size=c["patch_size"],
            token_hidden=c["tokens_mlp_dim"],
            channel_hidden=c["channels_mlp_dim"],
        ),
    ),
    "mixer_timm": Oracle(
        "mixer_timm.safetensors",
        "timm",
        "mixer",
        lambda c: dict(dim=c["embed_dim"], depth=c["num_blocks"], patch_size=c["patch_size"]),
    ),
    "resmlp": Oracle(
        "resmlp.safetensors", "deit", "resmlp", lambda c: dict(dim=c["embed_dim"], depth=c["depth"], patch_size=c["patch_size"])
    ),
    "resmlp_timm": Oracle(
        "resmlp_timm.safetensors",
        "timm",
        "resmlp",
        lambda c: dict(dim=c["embed_dim"], depth=c["num_blocks"], patch_size=c["patch_size"]),
    ),
    "gmlp_timm": Oracle(
        "gmlp_timm.safetensors",
        "timm",
        "gmlp",
        lambda c: dict(dim=c["embed_dim"], depth=c["num_blocks"], patch_size=c["patch_size"]),
    ),
    "eamlp": Oracle(
        "eamlp.safetensors",
        "eanet",
        "eamlp",
        lambda c: dict(dim=c["embed_dim"], depth=c["depth"], heads=c["num_heads"], expansion=c["mlp_ratio"]),
    ),
    "ff_only": Oracle(
        "ff_only.safetensors",
        "ff-only",
        "ffonly",
        lambda c: dict(dim=c["embed_dim"], depth=c["depth"], patch_size=c["patch_size"], expansion=c["mlp_ratio"]),
    ),
    "vip": Oracle(
        "vip.safetensors",
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
    "asmlp": Oracle(
        "asmlp.safetensors",
        "as-mlp",
        "asmlp",
        lambda c: dict(dim=c["embed_dim"], depths=c["depths"], patch_size=c["patch_size"], shift=c["shift_size"]),
    ),
    "convmlp": Oracle(
        "convmlp.safetensors",
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
    "raftmlp": Oracle(
        "raftmlp.safetensors",
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
    "repmlpnet": Oracle(
        "repmlpnet.safetensors",
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
    "smlpnet": Oracle(
        "smlpnet.safetensors",
        "spach",
        "smlpnet",
        lambda c: dict(dim=c["dim"], depths=tuple(c["depths"]), patch_size=c["patch_size"]),
    ),
}


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
