"""Hidden units that do nothing can go without a trace; the weakest go first."""

import pytest
import torch

from allmlp.errors import ModelError
from allmlp.surgery.narrow import channel_mlps, narrowed
from contract import awake, build, images


@pytest.mark.parametrize("name", ["resmlp_s12", "resmlp_s12_class", "mixer_b16", "smlpnet_b"])
def test_units_that_nothing_leaves_go_without_a_trace(name: str) -> None:
    model = awake(build(name)).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for mlp in channel_mlps(model).values():
            count = mlp.fc1.out_features
            mlp.fc2.weight[:, torch.randperm(count, generator=generator)[: count // 2]] = 0
    less, given = narrowed(model, 0.5).eval(), images(model, 2)
    with torch.inference_mode():
        assert torch.allclose(less(given), model(given), rtol=1e-5, atol=1e-5)
    before, after = (channel_mlps(m) for m in (model, less))
    assert {path: mlp.fc1.out_features for path, mlp in after.items()} == {
        path: mlp.fc1.out_features // 2 for path, mlp in before.items()
    }
    assert less.twin().state_dict().keys() == less.state_dict().keys()


def test_the_units_left_keep_their_order_and_weights() -> None:
    model = build("mixer_b16", depth=1, dim=4, channel_hidden=3)
    mlp = channel_mlps(model)["blocks.0.channel_mlp"]
    with torch.no_grad():
        mlp.fc1.weight.copy_(torch.tensor([[2.0], [0.1], [1.0]]).expand(3, 4))
        mlp.fc2.weight.fill_(1.0)
    less = channel_mlps(narrowed(model, 1 / 3))["blocks.0.channel_mlp"]
    assert less.fc1.weight[:, 0].tolist() == [2.0, 1.0]


def test_other_families_are_refused() -> None:
    with pytest.raises(ModelError, match="not offered for gmlp"):
        narrowed(build("gmlp_b"), 0.5)
