"""Names: ours, the public ones, and ours in timm's registry next to its own."""

import importlib
import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_model_data_config
from torch import nn

import allmlp
from allmlp.errors import ModelError, one_of
from allmlp.models import create_model, list_models
from allmlp.registry import families, family_of, register


def in_a_new_process(code: str) -> Any:
    """What the code's last print says, as JSON."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_allmlp_loads_nothing_heavy() -> None:
    code = "import sys, json, allmlp; dir(allmlp); print(json.dumps([m.split('.')[0] for m in sys.modules]))"
    loaded = set(in_a_new_process(code))
    assert "allmlp" in loaded
    assert loaded.isdisjoint({"torch", "torchvision", "timm", "numpy", "PIL", "matplotlib", "jinja2"})


ORDERS = {
    "allmlp first": "import allmlp, timm",
    "a part of allmlp first": "import allmlp.nn.mixing, timm",
    "timm first": "import timm; known = timm.list_models(); import allmlp",
}
IN_EVERY_ORDER = """
import json, os, sys, torch, torchvision  # what both orders share is loaded once
for code in json.loads(sys.argv[1]):
    if os.fork():
        if os.wait()[1]:
            print("null", flush=True)
        continue
    known = []
    exec(code)
    model = timm.create_model("smlpnet_t", num_classes=10)
    ours = [n for n in timm.list_models() if timm.model_entrypoint(n).__module__.startswith("allmlp")]
    print(json.dumps([type(model).__name__, model.num_classes, known, ours]), flush=True)
    os._exit(0)
"""


@pytest.fixture(scope="module")
def orders() -> dict[str, Any]:
    """Order of import → what timm then knows, in processes of their own."""
    command = [sys.executable, "-c", IN_EVERY_ORDER, json.dumps(list(ORDERS.values()))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(ORDERS, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("order", ORDERS)
def test_timm_knows_our_names_in_either_order_of_import(order: str, orders: dict[str, Any]) -> None:
    assert orders[order] is not None, "the imports failed"
    kind, classes, _, ours = orders[order]
    assert (kind, classes) == ("SMLPNet", 10)
    assert sorted(ours) == list_models()


def test_no_name_of_timms_is_ours(orders: dict[str, Any]) -> None:
    _, _, known, ours = orders["timm first"]
    assert len(known) > 1000
    assert set(known).isdisjoint(ours)


def test_timms_arguments_reach_our_models() -> None:
    model: Any = timm.create_model("resmlp_xs", num_classes=4, in_chans=1, drop_path_rate=0.2, img_size=16, dim=8, depth=2)
    assert model(torch.randn(2, 1, 16, 16)).shape == (2, 4)
    assert model.blocks[0].drop_path.drop_prob == 0.2
    assert (model.name, model.family) == ("resmlp_xs", "resmlp")


@pytest.mark.parametrize("name", ["mixer_xs", "resmlp_xs", "smlpnet_xs"])
def test_timm_reads_our_preprocessing_and_finds_our_layers(name: str) -> None:
    model: Any = timm.create_model(name)
    config, spec = resolve_model_data_config(model), model.preprocessing
    assert config["input_size"] == (spec.in_chans, *spec.img_size)
    assert (config["mean"], config["std"], config["interpolation"]) == (spec.mean, spec.std, spec.interpolation)
    assert (config["crop_pct"], config["crop_mode"]) == (spec.crop_ratio, spec.crop_mode)
    assert isinstance(model.get_submodule(model.pretrained_cfg["first_conv"]), nn.Conv2d)
    assert model.get_submodule(model.pretrained_cfg["classifier"]) is model.get_classifier()


def test_timm_cannot_fetch_weights_we_do_not_have() -> None:
    with pytest.raises(ModelError, match="smlpnet_t has no weights that timm could fetch") as error:
        timm.create_model("smlpnet_t", pretrained=True)
    assert "load_weights" in error.value.hint


def test_an_unknown_argument_from_timm_is_named() -> None:
    with pytest.raises(ModelError, match="has no hyper-parameter 'embed_dim'"):
        timm.create_model("resmlp_xs", embed_dim=8)


def test_public_names_are_few_sorted_and_there() -> None:
    assert len(allmlp.__all__) <= 21
    assert allmlp.__all__ == sorted(allmlp.__all__)
    assert dir(allmlp) == sorted([*allmlp.__all__, "__version__"])
    assert allmlp.__version__[0].isdigit()


@pytest.mark.parametrize("name", allmlp.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(importlib.import_module("allmlp"), name)
    assert callable(value) or isinstance(value, ModuleType)
    assert value.__doc__


def test_other_names_are_not_attributes() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        allmlp.trian  # noqa: B018


def test_models_are_listed_by_pattern_and_sorted() -> None:
    assert list_models() == sorted(list_models())
    assert list_models("smlpnet_?") == ["smlpnet_b", "smlpnet_s", "smlpnet_t"]
    assert list_models("no_*") == []
    assert [family.name for family in families()] == sorted({family_of(name).name for name in list_models()})


@pytest.mark.parametrize("family", families(), ids=lambda f: f.name)
def test_a_familys_records_are_about_its_variants(family: Any) -> None:
    assert all(family_of(name) is family for name in [family.name, *family.variants])
    assert set(family.published) <= set(family.variants)
    assert set(family.licences) <= set(family.variants)
    assert all(50 < top1 < 100 for top1 in family.published.values())
    assert family.paper.startswith("arXiv:")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resmlp_12", "did you mean resmlp_s12?"),
        ("smlpnet_tiny", "did you mean smlpnet_t?"),
        ("mixer_b_16", "did you mean mixer_b16?"),
        ("vit_base", "choose one of asmlp"),
        ("", "choose one of asmlp"),
        (7, "choose one of asmlp"),
    ],
)
def test_an_unknown_model_is_answered_with_what_there_is(name: Any, hint: str) -> None:
    with pytest.raises(ModelError, match="no model is named") as error:
        create_model(name)
    assert error.value.hint.startswith(hint)


def test_given_values_win_over_the_variants() -> None:
    variant = family_of("mixer_xs").variants["mixer_xs"]
    before = dict(variant)
    model = create_model("mixer_xs", depth=1, num_classes=2)
    assert (model.name, model.family, len(model.steps()), model.num_classes) == ("mixer_xs", "mixer", 1, 2)
    assert model.hyperparameters == {**before, "depth": 1, "num_classes": 2}
    assert variant == before


@pytest.mark.parametrize("name", ["mixer", "resmlp_s12"])
def test_no_name_is_given_twice(name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} registered twice"):
        register("new" if "_" in name else name, variants={name: {}} if "_" in name else {}, paper="")(nn.Module)
    assert "new" not in {family.name for family in families()}


def test_hints_name_the_nearest_or_what_there_is() -> None:
    assert one_of(["cat", "dog"], "cst") == "did you mean cat?"
    assert one_of(["cat", "dog"], "zebra") == "choose one of cat, dog"
    assert one_of([f"n{i:02}" for i in range(30)], "zebra").endswith("n23 and 6 more")
    assert one_of(["resmlp_s12", "resmlp_s24"], "ResMLP_S12") == "did you mean resmlp_s12?"
    assert one_of(["train.epochs"], "train.EPOCHS") == "did you mean train.epochs?"
    assert one_of(["Owl", "dog"], "owl") == "did you mean Owl?"
    assert one_of(["drop_path", "drop_rate"], "drop_pate") == "did you mean drop_path or drop_rate?"
