"""What decays, how the learning rate goes, and what timm's LAMB does."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from allmlp.models import create_model
from allmlp.recipe import Optim
from allmlp.registry import families
from allmlp.training.optim import optimiser, schedule

MLP = ["fc1", "fc2"]
DECAYED: dict[str, dict[str, list[str]]] = {
    "asmlp": {
        "stages.embed": ["proj", "reduction"],
        "stages.blocks.token_mix": ["enter", "after_rows", "after_columns", "leave"],
        "stages.blocks.channel_mlp": MLP,
    },
    "convmlp": {
        "stem": ["tokenizer", "blocks"],
        "stages": ["embed"],
        "stages.blocks": ["depthwise"],
        "stages.blocks.mlp1": MLP,
        "stages.blocks.mlp2": MLP,
    },
    "eamlp": {
        "patches": ["proj"],
        "patches.reductions": ["reduce", "proj"],
        "patches.reductions.memory": ["keys", "values"],
        "patches.reductions.channel_mlp": MLP,
        "blocks.token_mix": ["widen", "proj"],
        "blocks.token_mix.memory": ["keys", "values"],
        "blocks.channel_mlp": MLP,
    },
    "ffonly": {"patches": ["proj"], "blocks.token_mlp": MLP, "blocks.channel_mlp": MLP},
    "gmlp": {"patches": ["proj"], "blocks": MLP, "blocks.gate": ["token_mix"]},
    "mixer": {"patches": ["proj"], "blocks.token_mlp": MLP, "blocks.channel_mlp": MLP},
    "raftmlp": {
        "stages.embed": ["proj"],
        "stages.blocks.vertical.mlp": MLP,
        "stages.blocks.horizontal.mlp": MLP,
        "stages.blocks.channel_mlp": MLP,
    },
    "repmlpnet": {
        "stages.embed": ["conv"],
        "stages.blocks.enter": ["conv"],
        "stages.blocks.leave": ["conv"],
        "stages.blocks.gate": MLP,
        "stages.blocks.mix": ["channel"],
        "stages.blocks.mix.local": ["conv"],
    },
    "resmlp": {
        "patches": ["proj"],
        "blocks": ["token_mix"],
        "blocks.channel_mlp": MLP,
        "class_blocks": ["token_mix"],
        "class_blocks.channel_mlp": MLP,
    },
    "smlpnet": {
        "stages": ["embed"],
        "stages.blocks.depthwise": ["conv"],
        "stages.blocks.sparse": ["along_rows", "along_columns", "fuse"],
        "stages.blocks.channel_mlp": MLP,
    },
    "vip": {
        "stages": ["embed"],
        "stages.blocks.token_mix": ["along_rows", "along_columns", "along_channels", "proj"],
        "stages.blocks.token_mix.fuse": MLP,
        "stages.blocks.channel_mlp": MLP,
    },
}
"""Family → the modules whose weights decay, besides the head; blocks' numbers left out."""


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_only_the_weights_of_linear_maps_and_convolutions_decay(family: object) -> None:
    """Not biases, norms, Affine, LayerScale, class tokens or positions."""
    decayed = set()
    for variant in family.variants:  # type: ignore[attr-defined]
        with torch.device("meta"):
            model = create_model(variant)
        made = optimiser(model, Optim(weight_decay=0.3), batch=256)
        assert {group["weight_decay"] for group in made.param_groups} == {0.0, 0.3}
        ids = {id(p) for group in made.param_groups if group["weight_decay"] for p in group["params"]}
        decayed |= {re.sub(r"\.\d+", "", name) for name, p in model.named_parameters() if id(p) in ids}
    table = DECAYED[family.name]  # type: ignore[attr-defined]
    assert decayed == {"head.weight"} | {f"{part}.{name}.weight" for part, names in table.items() for name in names}


def test_lamb_clips_no_gradient_by_itself() -> None:
    """timm's would clip at 1 whatever `optim.clip` says."""
    made = optimiser(create_model("resmlp", dim=8, depth=1, img_size=16), Optim(name="lamb"), batch=256)
    assert made.defaults["max_grad_norm"] is None


def test_lamb_moves_a_matrix_by_its_own_norm_and_a_vector_as_adam_does() -> None:
    """You et al. (2020), algorithm 2: the first step's Adam ratio is the gradient's sign; the trust ratio is |w| / |update|."""
    layer = nn.Linear(3, 2)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    made = optimiser(layer, Optim(name="lamb", lr=0.01, weight_decay=0.1), batch=256)
    layer.weight.grad, layer.bias.grad = torch.full((2, 3), 0.5), torch.tensor([-2.0, 3.0])
    made.step()
    update = torch.ones(2, 3) + 0.1 * weight
    torch.testing.assert_close(
        layer.weight.detach(), weight - 0.01 * weight.norm() / update.norm() * update, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(layer.bias.detach(), bias - 0.01 * torch.tensor([-1.0, 1.0]), rtol=1e-4, atol=1e-6)


def test_learning_rate_warms_up_linearly_then_follows_a_cosine_and_scales_with_the_batch() -> None:
    optim = Optim(lr=1e-3, lr_batch=256, warmup=2.0, min_lr=1e-5)
    made = optimiser(create_model("resmlp", dim=8, depth=1, img_size=16), optim, batch=512)
    plan = schedule(made, optim, batch=512, steps=10, epochs=10)
    rates = []
    for step in range(100):
        plan.step_update(step)
        rates.append(made.param_groups[0]["lr"])
    low, high = 2e-5, 2e-3
    assert rates[:20] == pytest.approx([low + (high - low) * i / 20 for i in range(20)])
    # timm's cosine counts from step 0, so that its peak is already a little past at the end of the warm-up
    assert rates[20:] == pytest.approx([low + 0.5 * (high - low) * (1 + np.cos(np.pi * i / 100)) for i in range(20, 100)])


def test_a_run_of_one_step_has_its_peak_rate_and_no_word_from_timm(caplog: pytest.LogCaptureFixture) -> None:
    optim = Optim(lr=1e-3, lr_batch=256)
    made = optimiser(create_model("resmlp", dim=8, depth=1, img_size=16), optim, batch=256)
    schedule(made, optim, batch=256, steps=1, epochs=1).step_update(0)
    assert made.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert caplog.records == []
