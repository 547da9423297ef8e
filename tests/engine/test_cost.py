"""What a forward pass costs, against sums by hand and against what papers and timm state."""

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from allmlp.engine.cost import Cost, cost
from allmlp.models import create_model


class Attention(nn.Module):
    """2 heads of 3 channels."""

    def forward(self, x: Tensor) -> Tensor:  # b n 6 → b n 6
        q = x.unflatten(-1, (2, 3)).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)


def test_a_convolution_puts_out_its_maps_and_multiplies_each_by_its_window() -> None:
    conv = nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2)
    assert cost(conv, torch.zeros(1, 4, 10, 6)) == Cost(macs=8 * 5 * 3 * (9 * 4 // 2), activations=8 * 5 * 3)


def test_a_linear_map_counts_once_per_token_with_and_without_bias() -> None:
    for bias in (True, False):
        assert cost(nn.Linear(5, 7, bias=bias), torch.zeros(1, 11, 5)) == Cost(macs=11 * 5 * 7, activations=11 * 7)


def test_norms_pooling_and_nonlinearities_count_nothing() -> None:
    parts = nn.Sequential(nn.BatchNorm2d(3), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.LayerNorm(12), nn.Softmax(-1))
    assert cost(parts, torch.zeros(1, 3, 4, 4)) == Cost(0, 0)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_attentions_two_products_count_however_it_is_computed(device: str) -> None:
    scores, mixed = 2 * 5 * 5, 2 * 5 * 3
    assert cost(Attention(), torch.zeros(1, 5, 6, device=device)) == Cost(scores * 3 + mixed * 5, scores + mixed)


def test_resmlp_by_hand() -> None:
    model = create_model("resmlp", dim=8, depth=2, patch_size=4, img_size=8, num_classes=3)
    tokens, dim, hidden = 4, 8, 32
    block = tokens * dim + tokens * hidden + tokens * dim
    counted = cost(model, torch.zeros(1, 3, 8, 8))
    assert counted.activations == tokens * dim + 2 * block + 3
    assert counted.macs == tokens * 48 * dim + 2 * (dim * tokens**2 + 2 * tokens * dim * hidden) + dim * 3


def test_counting_leaves_the_mode_and_the_gradients_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    cost(model, torch.zeros(1, 2))
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "gmacs", "activations"),
    [
        ("resnet50", 4.1, 11.1),  # RegNet's table of baselines, arXiv:2003.13678
        ("deit_small_patch16_224", 4.6, 11.95),  # DeiT, table 1; timm's table of results
        ("regnety_040", 4.0, 12.3),  # RegNet, table 4
    ],
)
def test_others_cost_what_their_papers_say(name: str, gmacs: float, activations: float) -> None:
    with torch.device("meta"):
        counted = cost(timm.create_model(name), torch.empty(1, 3, 224, 224))
    assert counted.macs / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert counted.activations / 1e6 == pytest.approx(activations, rel=0.005)
