"""What decays, how the learning rate goes, and what timm's LAMB does."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from allmlp.models import create_model
from allmlp.recipe import Optim
from allmlp.registry import families
from allmlp.training.optim import optimiser, schedule
from allmlp.translation.model import create_translator

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


def test_muon_moves_a_matrix_by_equal_singular_values_and_a_vector_as_adam_does() -> None:
    """Every direction of the first gradient gets 0.2 √max(rows, columns), or 0.2 an entry on average."""
    torch.manual_seed(0)
    layer = nn.Linear(24, 12)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    made = optimiser(layer, Optim(name="muon", lr=0.01, weight_decay=0.0), batch=256)
    layer.weight.grad, layer.bias.grad = torch.randn(12, 24), torch.linspace(-1, 1, 12)
    made.step()
    left, _, right = torch.linalg.svd(layer.weight.grad, full_matrices=False)
    step = (weight - layer.weight.detach()) / 0.01
    sizes = torch.linalg.svdvals(step) / (0.2 * 24**0.5)
    assert float(sizes.min()) > 0.7  # five Newton-Schulz steps bring them near 1, not to it (Jordan et al., 2024)
    assert float(sizes.max()) < 1.3
    assert float(torch.nn.functional.cosine_similarity(step.flatten(), (left @ right).flatten(), dim=0)) > 0.98
    assert torch.equal((bias - layer.bias.detach()).sign(), layer.bias.grad.sign())


def test_muon_moves_embeddings_entry_by_entry_as_adam_does() -> None:
    """A piece that did not occur in a batch has no gradient, and stays; an orthogonal step would move it."""
    torch.manual_seed(0)
    made = create_translator("resmlp_mt_xs", vocabulary=10, longest=4)
    before = made.embedding.weight.detach().clone()
    steps = optimiser(made, Optim(name="muon", lr=0.01, weight_decay=0.0), batch=256)
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made.embedding.weight.grad[3] = torch.linspace(-1, 1, 128)  # type: ignore[index]
    steps.step()
    moved = (made.embedding.weight.detach() - before) / 0.01
    assert [row for row in range(10) if bool(moved[row].any())] == [3]
    assert torch.equal(moved[3].sign(), torch.linspace(-1, 1, 128).neg().sign())


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


def rates(optim: Optim, *, steps: int, epochs: int) -> list[float]:
    made = optimiser(create_model("resmlp", dim=8, depth=1, img_size=16), optim, batch=256)
    plan, found = schedule(made, optim, batch=256, steps=steps, epochs=epochs), []
    for step in range(steps * epochs):
        plan.step_update(step)
        found.append(made.param_groups[0]["lr"])
    return found


def test_a_linear_decay_falls_by_equal_steps_after_a_warm_up_counted_in_steps() -> None:
    found = rates(Optim(lr=1.0, warmup=50, warmup_steps=4, decay="linear", min_lr=0.0), steps=10, epochs=2)
    assert found[:4] == pytest.approx([0.0, 0.25, 0.5, 0.75])
    assert found[4:] == pytest.approx([1 - i / 20 for i in range(4, 20)])


@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_the_cooldown_stays_at_the_least_rate_and_the_decay_ends_where_it_begins(decay: Any) -> None:
    cooled = rates(Optim(lr=1.0, warmup=1, cooldown=2, decay=decay, min_lr=0.1), steps=10, epochs=5)
    assert cooled[30:] == pytest.approx([0.1] * 20)
    assert cooled[:30] == pytest.approx(rates(Optim(lr=1.0, warmup=1, decay=decay, min_lr=0.1), steps=10, epochs=3))


@pytest.mark.parametrize(("name", "nesterov"), [("sgd", True), ("momentum", False)])
def test_momentum_is_nesterovs_or_plain(name: Any, nesterov: bool) -> None:
    made = optimiser(nn.Linear(2, 2), Optim(name=name, betas=(0.8, 0.9)), batch=256)
    assert (made.defaults["momentum"], made.defaults["nesterov"]) == (0.8, nesterov)


def test_adam_decays_through_the_gradient_and_adamw_beside_it() -> None:
    """A weight without a gradient of its own: Adam takes the decay for one, and its first step is the rate itself."""
    moved = {}
    for name in ("adam", "adamw"):
        layer = nn.Linear(1, 1, bias=False)
        nn.init.constant_(layer.weight, 2.0)
        made = optimiser(layer, Optim(name=name, lr=0.01, weight_decay=0.5), batch=256)  # type: ignore[arg-type]
        layer.weight.grad = torch.zeros(1, 1)
        made.step()
        moved[name] = 2.0 - layer.weight.item()
    assert moved == pytest.approx({"adam": 0.01, "adamw": 0.01 * 0.5 * 2.0}, rel=1e-4)


@pytest.mark.parametrize("epochs", [1, 3, 10, 49, 50, 51, 200])
def test_the_usual_warm_up_takes_a_tenth_of_a_short_run_and_five_epochs_of_a_long_one(epochs: int) -> None:
    found = rates(Optim(lr=1.0, decay="linear", min_lr=0.0), steps=20, epochs=epochs)
    rising = min(100, 2 * epochs)
    assert found[: rising + 1] == pytest.approx([*(i / rising for i in range(rising)), 1 - rising / (20 * epochs)])
    if epochs >= 50:
        assert found == rates(Optim(lr=1.0, warmup=5.0, decay="linear", min_lr=0.0), steps=20, epochs=epochs)


def test_a_warm_up_that_is_named_stays_as_it_is() -> None:
    """Five epochs of three: step i of 30 has i / 29 of the rate."""
    found = rates(Optim(lr=1.0, warmup=5.0, min_lr=0.0), steps=10, epochs=3)
    assert found[:29] == pytest.approx([i / 29 for i in range(29)])
