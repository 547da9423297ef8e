"""Locality injection: the deployed RepMLPNet computes what the trained one does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from allmlp.engine.cost import multiply_adds, parameters
from allmlp.errors import ModelError, WeightsError
from allmlp.models import create_model
from allmlp.models.repmlpnet import RepMLPNet
from allmlp.surgery.locality import conv_matrix, inject_locality
from allmlp.weights.load import load_weights

ORACLE = Path(__file__).parent.parent / "oracles" / "repmlpnet.safetensors"
# variant: (parameters, multiply-adds in billions) of the deployed form, counted on the released code
DEPLOYED = {
    "repmlpnet_t224": (38_331_720, 2.798),
    "repmlpnet_b224": (68_332_664, 6.657),
    "repmlpnet_t256": (58_739_400, 4.246),
    "repmlpnet_b256": (96_568_184, 9.616),
    "repmlpnet_d256": (86_985_280, 8.611),
    "repmlpnet_l256": (117_820_600, 11.579),
}


def trained(**changed: Any) -> RepMLPNet:
    """A small model whose every BatchNorm has been given work."""
    torch.manual_seed(0)
    values: dict[str, Any] = dict(dim=8, depths=(1, 2), sharesets=(2, 4), patch_size=2, img_size=16, num_classes=7)
    model: Any = create_model("repmlpnet", **{**values, **changed})
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def images(model: RepMLPNet) -> Tensor:  # → b c h w
    return torch.randn(3, 3, *model.img_size, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def difference(a: Tensor, b: Tensor) -> float:
    return float(((a - b).abs().max() / b.abs().max()).detach())


cases = pytest.mark.parametrize(
    "changed",
    [{}, {"img_size": (16, 24)}, {"img_size": (24, 16)}, {"kernels": (1, 3, 5)}, {"kernels": (7,)}, {"in_chans": 3, "dim": 16}],
    ids=str,
)


@cases
def test_deployed_equals_trained_to_rounding_in_float64(changed: dict[str, Any]) -> None:
    model = trained(**changed).double()
    assert difference(inject_locality(model)(images(model)), model(images(model))) < 1e-12


@cases
def test_deployed_equals_trained_to_rounding_in_float32(changed: dict[str, Any]) -> None:
    model = trained(**changed)
    x = images(model).float()
    assert difference(inject_locality(model)(x), model(x)) < 1e-5


def test_deployed_equals_the_releases_deployed_logits() -> None:
    tensors = load_file(ORACLE)
    with safe_open(ORACLE, "pt") as file:
        config = json.loads(file.metadata()["config"])
    model: Any = create_model(
        "repmlpnet",
        dim=config["channels"][0],
        depths=config["num_blocks"],
        sharesets=config["sharesets_nums"],
        kernels=config["reparam_conv_k"],
        patch_size=4,
        img_size=32,
        num_classes=7,
    ).eval()
    load_weights(model, {k.removeprefix("state_dict."): v for k, v in tensors.items() if k.startswith("state_dict.")})
    assert difference(inject_locality(model)(tensors["input"]), tensors["logits_deployed"]) < 1e-5


@pytest.mark.parametrize("name", DEPLOYED)
def test_deployed_variants_have_the_released_size_and_cost(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, form="deployed")
    assert parameters(model) == DEPLOYED[name][0]
    assert multiply_adds(model) / 1e9 == pytest.approx(DEPLOYED[name][1], rel=0.001)


def test_the_deployed_form_of_a_trained_model_has_no_convolution_beside_the_matrices() -> None:
    deployed = inject_locality(trained())
    fresh = deployed.twin()
    assert deployed.hyperparameters["form"] == "deployed"
    assert {k: v.shape for k, v in deployed.state_dict().items()} == {k: v.shape for k, v in fresh.state_dict().items()}
    assert not [n for n, _ in deployed.named_parameters() if "local" in n]


def test_the_trained_model_is_left_as_it_was() -> None:
    model = trained().train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    deployed = inject_locality(model)
    with torch.no_grad():
        for parameter in deployed.parameters():
            parameter.zero_()
    assert model.training
    assert not deployed.training
    assert model.hyperparameters.get("form", "training") == "training"
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_everything_but_the_matrices_comes_along() -> None:
    model = trained().half()
    model.classes = tuple("abcdefg")
    deployed = inject_locality(model)
    assert (deployed.name, deployed.classes, deployed.preprocessing) == (model.name, model.classes, model.preprocessing)
    assert {p.dtype for p in deployed.parameters()} == {torch.float16}
    assert all(p.requires_grad for p in deployed.parameters())


def test_a_deployed_model_is_copied() -> None:
    model = trained()
    once = inject_locality(model)
    twice = inject_locality(once)
    assert twice is not once
    x = images(model).float()
    assert torch.equal(twice(x), once(x))


def test_a_deployed_model_can_be_exported_and_its_weights_kept() -> None:
    deployed = inject_locality(trained())
    x = images(deployed).float()
    torch.testing.assert_close(torch.export.export(deployed, (x,)).module()(x), deployed(x))
    twin = deployed.twin().eval()
    load_weights(twin, deployed.state_dict())
    assert torch.equal(twin(x), deployed(x))


def test_a_deployed_release_is_read() -> None:
    deployed = inject_locality(trained())
    names = {
        "token_norm": "prebn1",
        "channel_norm": "prebn2",
        "gate": "repmlp_block.gp",
        "mix": "repmlp_block.fc3",
        "enter.conv": "ffn_block.ffn_fc1.conv",
        "enter.norm": "ffn_block.ffn_fc1.bn",
        "leave.conv": "ffn_block.ffn_fc2.conv",
        "leave.norm": "ffn_block.ffn_fc2.bn",
    }
    theirs = {}
    for name, tensor in deployed.state_dict().items():
        name = name.replace(".blocks", "").replace("stages.0.embed.norm", "conv_embedding.bn")
        name = name.replace("stages.0.embed", "conv_embedding").replace("stages.1.embed.norm", "embeds.0.bn")
        name = name.replace("stages.1.embed", "embeds.0")
        for ours, part in names.items():
            name = name.replace(ours, part)
        if name.endswith("fc3.weight"):
            tensor = tensor.flatten(0, 1)[..., None, None]
        elif ".gp." in name and name.endswith("weight"):
            tensor = tensor[..., None, None]
        theirs[f"head_{name}" if name.startswith("norm.") else name] = tensor
    twin = deployed.twin().eval()
    assert load_weights(twin, theirs) == "repmlp, deployed"
    x = images(deployed).float()
    assert torch.equal(twin(x), deployed(x))
    with pytest.raises(WeightsError, match=r"unexpected.*fc3\.bias|missing"):
        load_weights(trained(), theirs)


def test_a_model_without_convolutions_beside_its_matrices_is_refused() -> None:
    with pytest.raises(ModelError, match="Mixer has no convolutions to inject") as error:
        inject_locality(create_model("mixer_xs"))
    assert "repmlpnet" in error.value.hint


@pytest.mark.parametrize("grid", [(4, 4), (3, 7), (1, 5)])
@pytest.mark.parametrize("side", [1, 3, 5])
def test_a_convolution_is_its_matrix(grid: tuple[int, int], side: int) -> None:
    torch.manual_seed(0)
    kernel, x = torch.randn(2, 1, side, side).double(), torch.randn(3, 2, *grid).double()
    expected = nn.functional.conv2d(x, kernel, padding=side // 2, groups=2)
    mixed = torch.einsum("smn,bsn->bsm", conv_matrix(kernel, grid), x.flatten(2)).unflatten(2, grid)
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-12)
