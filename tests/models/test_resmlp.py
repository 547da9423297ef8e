"""ResMLP (arXiv:2105.03404): what the article and the release say of it."""

from typing import Any

import pytest
import torch
from torch import nn

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.nn.affine import Affine, LayerScale

SMALL: dict[str, Any] = dict(dim=16, patch_size=8, img_size=32, num_classes=7)


def small(depth: int = 2, **changed: Any) -> Any:
    return create_model("resmlp", depth=depth, **{**SMALL, **changed})


@pytest.mark.parametrize("head", ["mean", "class_mlp"])
def test_stochastic_depth_is_the_same_in_every_block(head: str) -> None:
    model = small(depth=5, drop_path=0.05, head=head)
    blocks = [*model.blocks, *getattr(model, "class_blocks", [])]
    assert [b.drop_path.drop_prob for b in blocks] == [0.05] * (5 if head == "mean" else 7)


@pytest.mark.parametrize(
    ("variant", "initial"),
    [
        ("resmlp_s12", 0.1),
        ("resmlp_s24", 1e-5),
        ("resmlp_s36", 1e-6),
        ("resmlp_b24", 1e-6),
        ("resmlp_b24_p8", 1e-6),
        ("resmlp_s12_class", 0.1),
        ("resmlp_s24_class", 1e-5),
        ("resmlp_s36_class", 1e-6),
    ],
)
def test_layer_scale_starts_by_total_depth_in_every_block(variant: str, initial: float) -> None:
    model: Any = create_model(variant, dim=8, img_size=32)
    scales = [m for m in model.modules() if isinstance(m, LayerScale)]
    blocks = [*model.blocks, *getattr(model, "class_blocks", [])]
    assert len(scales) == 2 * len(blocks)
    for scale in scales:
        torch.testing.assert_close(scale.gamma.detach(), torch.full((8,), initial), rtol=1e-6, atol=0)


def test_affine_starts_as_the_identity_and_has_no_statistics() -> None:
    affine = Affine(3)
    x = torch.randn(2, 5, 3) * 10 + 4
    assert torch.equal(affine(x), x)
    with torch.no_grad():
        affine.alpha.copy_(torch.tensor([1.0, 2.0, 3.0]))
        affine.beta.copy_(torch.tensor([0.5, 0.0, -1.0]))
    torch.testing.assert_close(affine(torch.ones(1, 1, 3)), torch.tensor([[[1.5, 2.0, 2.0]]]))


def test_only_affine_stands_where_others_normalise() -> None:
    norms = [m for m in small().modules() if isinstance(m, nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm)]
    assert norms == []
    assert sum(isinstance(m, Affine) for m in small().modules()) == 2 * 2 + 1


def test_linear_maps_start_with_a_truncated_normal_and_no_bias() -> None:
    torch.manual_seed(0)
    model = create_model("resmlp", dim=128, depth=1, patch_size=8, img_size=64, num_classes=50)
    for layer in (m for m in model.modules() if isinstance(m, nn.Linear)):
        assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
        assert not layer.bias.detach().any()


def test_the_token_matrix_is_tokens_by_tokens_and_its_rows_gather() -> None:
    mix = small().blocks[0].token_mix
    assert mix.weight.shape == (16, 16)
    struck = torch.zeros(1, 16, 16)
    struck[0, 5, 3] = 1  # token 5, channel 3
    with torch.no_grad():
        moved = mix(struck) - mix(torch.zeros(1, 16, 16))
    torch.testing.assert_close(moved[0, :, 3], mix.weight[:, 5].detach())
    assert not moved[0, :, [c for c in range(16) if c != 3]].any()


def test_a_block_is_two_scaled_residual_branches() -> None:
    torch.manual_seed(0)
    block = small(layer_scale=0.5).blocks[0]
    x = torch.randn(2, 16, 16)
    with torch.no_grad():
        token = x + 0.5 * (torch.einsum("mn,bnc->bmc", block.token_mix.weight, x) + block.token_mix.bias[:, None])
        hidden = nn.functional.gelu(token @ block.channel_mlp.fc1.weight.T + block.channel_mlp.fc1.bias)
        expected = token + 0.5 * (hidden @ block.channel_mlp.fc2.weight.T + block.channel_mlp.fc2.bias)
        torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-6)


def test_the_class_token_gathers_from_itself_and_every_patch_with_one_row() -> None:
    torch.manual_seed(0)
    block = small(head="class_mlp").class_blocks[0]
    assert block.token_mix.weight.shape == (1, 16 + 1)
    token, patches = torch.randn(1, 1, 16), torch.randn(1, 16, 16)
    with torch.no_grad():
        block.channel_scale.gamma.zero_()  # leave the gathering alone
        row, bias = block.token_mix.weight[0], block.token_mix.bias
        gathered = row[0] * token[:, 0] + torch.einsum("n,bnc->bc", row[1:], patches) + bias
        torch.testing.assert_close(block(token, patches)[:, 0], token[:, 0] + block.token_scale.gamma * gathered)


def test_the_class_mlp_leaves_the_patches_alone_and_pools_its_token() -> None:
    model = small(head="class_mlp").eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features = model.forward_features(x)
        tokens = model.begin(x)
        for block in model.steps():
            tokens = block(tokens)
        assert features.shape == (2, 1 + 16, 16)
        torch.testing.assert_close(features[:, 1:], model.norm(tokens))
        assert torch.equal(model.forward_head(features, pre_logits=True), features[:, 0])


def test_the_mean_head_pools_all_tokens() -> None:
    features = torch.arange(2 * 16 * 16.0).reshape(2, 16, 16)
    torch.testing.assert_close(small().forward_head(features, pre_logits=True), features.mean(1))


def test_the_class_token_does_not_decay() -> None:
    assert small(head="class_mlp").no_weight_decay() == {"class_token"}
    assert small().no_weight_decay() == set()


def test_evaluation_keeps_nine_tenths_of_the_picture() -> None:
    assert small().preprocessing.crop_ratio == 0.9


MIXERS = ["linear", "none", "mlp", "conv3x3", "depthwise3x3", "separable"]


@pytest.mark.parametrize(
    ("values", "count"),
    [
        (dict(token_mixing="linear"), 15_350_872),
        (dict(token_mixing="none"), 14_887_528),
        (dict(token_mixing="mlp"), 18_587_224),
        (dict(token_mixing="conv3x3"), 30_817_384),
        (dict(token_mixing="depthwise3x3"), 14_933_608),
        (dict(token_mixing="separable"), 16_707_688),
        (dict(norm="layernorm"), 15_350_872),
    ],
    ids=str,
)
def test_ablations_of_s12_have_the_articles_number_of_parameters(values: dict[str, str], count: int) -> None:
    with torch.device("meta"):
        model = create_model("resmlp_s12", **values)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(("mixing", "reach"), [("none", 0), ("conv3x3", 9), ("depthwise3x3", 9), ("separable", 9), ("mlp", 32)])
def test_an_ablation_reaches_the_patches_it_says_on_a_wide_grid(mixing: str, reach: int) -> None:
    torch.manual_seed(0)
    mix = small(token_mixing=mixing, img_size=(32, 64)).blocks[0].token_mix
    still = torch.randn(1, 32, 16)
    struck = still.clone()
    struck[0, 8 + 3, 5] += 1  # row 1, column 3, channel 5
    with torch.no_grad():
        moved = (mix(struck) - mix(still))[0].reshape(4, 8, 16).abs() > 0
    if mixing == "none":
        assert moved.sum() == 1
        return
    assert moved.any(2).sum() == reach
    assert moved.any(2)[0:3, 2:5].all()
    assert moved.any(1).any(0).sum() == (16 if mixing in ("conv3x3", "separable") else 1)


@pytest.mark.parametrize("values", [*(dict(token_mixing=m) for m in MIXERS), dict(norm="layernorm")], ids=str)
@pytest.mark.parametrize("head", ["mean", "class_mlp"])
def test_ablations_learn_and_export_like_the_rest(values: dict[str, str], head: str) -> None:
    torch.manual_seed(0)
    model = small(head=head, layer_scale=0.1, img_size=(32, 16), **values)
    x = torch.randn(4, 3, 32, 16)
    nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    exported = torch.export.export(model.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), model(x))
    assert model.twin().state_dict().keys() == model.state_dict().keys()


def test_a_layer_norm_can_stand_where_affine_does() -> None:
    model = small(head="class_mlp", norm="layernorm")
    assert not any(isinstance(m, Affine) for m in model.modules())
    assert [m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)] == [1e-6] * (2 * 4 + 1)


@pytest.mark.parametrize("values", [dict(token_mixing="conv"), dict(norm="batchnorm")], ids=str)
def test_an_unknown_ablation_is_refused(values: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="is not known"):
        small(**values)
