"""Names and shapes say whose model a checkpoint is; what they cannot say is assumed by rule, given, or refused."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from allmlp.conversion.recognise import Recognised, recognise
from allmlp.errors import AllmlpError, ModelError, WeightsError
from allmlp.models import create_model, list_models
from allmlp.registry import families, family_of
from allmlp.surgery.fold import fold
from allmlp.weights import shapes
from allmlp.weights.layouts import KINDS, layout_for
from contract import SMALL, build
from helpers import meta_state
from oracle import ORACLES, older

UNSEEN = {
    "vip": {"img_size": 32},
    "raftmlp": {},
    "asmlp": {"img_size": 32},
    "convmlp": {"img_size": 64},
}
"""What has to be given of the oracles, because no shape shows it."""


def in_layout(kind: str, name: str, ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours in the layout of a kind."""
    if kind == "allmlp":
        return ours
    layout, names = layout_for(kind, family_of(name).name, ours)
    return {names[k]: layout.axes_of(names[k]).to_theirs(v) for k, v in ours.items()}


def written() -> list[tuple[str, str]]:
    """(variant, kind of layout it can be written in)."""
    found = []
    for name in list_models():
        for kind in ("allmlp", *KINDS):
            try:
                in_layout(kind, name, meta_state(name))
            except WeightsError:
                continue
            found.append((name, kind))
    return found


@pytest.mark.parametrize(("name", "kind"), written())
def test_every_variant_is_recognised_in_every_layout(name: str, kind: str) -> None:
    known = recognise(in_layout(kind, name, meta_state(name)))
    assert known.model.name == name
    expected = dict(family_of(name).variants[name])
    size = expected.pop("img_size", 224)
    values = known.model.hyperparameters
    assert {key: values[key] for key in expected} == expected
    assert known.model.img_size == (size, size)
    assert (known.model.in_chans, known.model.num_classes) == (3, 1000)
    assert known.tensors.keys() == meta_state(name).keys()


def test_every_family_can_be_read_off_its_shapes() -> None:
    assert shapes.READERS.keys() == {family.name for family in families()}


@pytest.mark.parametrize("name", SMALL)
def test_a_mark_of_a_family_is_in_no_other(name: str) -> None:
    assert shapes.family_of(build(name).state_dict()) == family_of(name).name


def read(state: dict[str, Tensor], family: str, given: dict[str, Any]) -> dict[str, Any]:
    rest = shapes.Rest({"act": "gelu", "shift": 5, "rafts": (2, 2, 2, 2), "in_chans": 3, "img_size": 224}, given)
    return dict(shapes.READERS[family].hyperparameters_of({k: tuple(v.shape) for k, v in state.items()}, rest))


@pytest.mark.parametrize("name", SMALL)
def test_a_model_that_is_no_variant_is_read_off_its_shapes(name: str) -> None:
    """Grey images, five classes, a size that is not square where the grid shows, and every width another."""
    family = family_of(name).name
    side = SMALL[name]["img_size"]
    wide = family in ("ffonly", "smlpnet", "raftmlp")
    model = build(name, in_chans=1, img_size=(side, 2 * side) if wide else side)
    given = {"img_size": model.img_size} if family in ("vip", "asmlp", "convmlp") else {}
    given |= {"in_chans": 1} if family in ("eamlp", "raftmlp") else {}
    values = read(model.state_dict(), family, given)
    twin = type(model)(**values)
    assert {k: v.shape for k, v in twin.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert (twin.img_size, twin.in_chans, twin.num_classes) == (model.img_size, 1, model.num_classes)
    declared = {k: v for k, v in model.hyperparameters.items() if k in values and k not in ("img_size", "act")}
    assert {k: values[k] for k in declared} == {k: plain(v) for k, v in declared.items()}


def plain(value: Any) -> Any:
    """Lists as tuples, as they are read."""
    return tuple(plain(v) for v in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("name", ORACLES)
def test_an_official_models_own_hyper_parameters_come_back(name: str) -> None:
    oracle = ORACLES[name]
    known = recognise(oracle.state(), given=UNSEEN.get(oracle.family, {}))
    assert (known.layout, known.model.name) == (oracle.layout, oracle.family)
    expected = {k: plain(v) for k, v in oracle.hyper().items()}
    values = {k: plain(v) for k, v in known.model.hyperparameters.items()}
    assert {k: values[k] for k in expected if k != "img_size"} == {k: v for k, v in expected.items() if k != "img_size"}
    assert known.model.img_size == expected["img_size"]
    model = create_model(known.model.name, **known.model.hyperparameters).eval()
    model.load_state_dict(known.tensors, strict=not any("norm" in n and "running" in n for n in known.tensors))
    x, logits = oracle.answers()
    with torch.no_grad():
        assert float((model(x) - logits).abs().max() / logits.abs().max()) < 1e-5


@pytest.mark.parametrize("expansion", [0.3, 1 / 3, 2.5, 3.999])
def test_an_expansion_that_is_rounded_down_gives_the_same_widths(expansion: float) -> None:
    model = create_model("ffonly", dim=10, depth=1, patch_size=4, expansion=expansion, img_size=(12, 16), num_classes=0)
    known = recognise(model.state_dict())
    assert {k: v.shape for k, v in known.model.state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    assert known.model.hyperparameters["expansion"] <= expansion


@pytest.mark.parametrize("mixing", ["linear", "none", "mlp", "conv3x3", "depthwise3x3", "separable"])
@pytest.mark.parametrize("norm", ["affine", "layernorm"])
@pytest.mark.parametrize("head", ["mean", "class_mlp"])
def test_every_option_of_resmlp_is_read(mixing: str, norm: str, head: str) -> None:
    options = dict(token_mixing=mixing, norm=norm, head=head)
    model = create_model("resmlp", dim=8, depth=2, patch_size=4, img_size=16, num_classes=3, **options)
    sizeless = head == "mean" and mixing not in ("linear", "mlp")
    known = recognise(model.state_dict(), given={"img_size": 16} if sizeless else {})
    assert {key: known.model.hyperparameters[key] for key in options} == options
    assert known.model.img_size == (16, 16)


def test_options_of_the_pyramids_are_read() -> None:
    def values(name: str, **hyper: Any) -> dict[str, Any]:
        return recognise(meta_state(name, **hyper)).model.hyperparameters

    assert values("smlpnet_xs", fusion="split_attention")["fusion"] == "split_attention"
    assert values("raftmlp_s", shortcut=True)["shortcut"] is True
    assert values("repmlpnet_t224", form="deployed")["form"] == "deployed"
    assert values("repmlpnet_t224", kernels=(1, 3, 5))["kernels"] == (1, 3, 5)


def test_a_variant_keeps_its_name_at_another_size_and_with_other_classes() -> None:
    known = recognise(meta_state("resmlp_s12", img_size=384, num_classes=10, in_chans=1))
    assert (known.model.name, known.model.img_size) == ("resmlp_s12", (384, 384))
    assert (known.model.num_classes, known.model.in_chans) == (10, 1)
    assert recognise(meta_state("repmlpnet_t256", img_size=128)).model.name.startswith("repmlpnet_t")
    assert recognise(meta_state("repmlpnet_t256")).model.name == "repmlpnet_t256"
    assert recognise(meta_state("mixer_s16", num_classes=0)).model.num_classes == 0


def google(name: str = "mixer_xs") -> dict[str, Tensor]:
    return in_layout("official", name, meta_state(name))


def test_mixers_gelu_is_that_of_the_layouts_own_code_unless_it_is_given() -> None:
    def act(known: Recognised) -> tuple[str, str | None]:
        model = create_model(known.model.name, **known.model.hyperparameters)
        return model.blocks[0].token_mlp.act.approximate, known.assumed.get("act")

    assert act(recognise(google())) == ("tanh", "gelu_tanh")
    assert act(recognise(older(google()))) == ("tanh", "gelu_tanh")
    assert act(recognise(in_layout("timm", "mixer_xs", meta_state("mixer_xs")))) == ("none", "gelu")
    assert act(recognise(meta_state("mixer_xs"))) == ("none", "gelu")
    assert act(recognise(google(), given={"act": "gelu"})) == ("none", None)


def test_what_no_shape_shows_is_the_variants_and_is_said() -> None:
    assert recognise(meta_state("asmlp_t")).assumed == {"shift": 5, "img_size": 224}
    assert recognise(meta_state("asmlp_t"), given={"shift": 3, "img_size": 256}).assumed == {}
    assert recognise(meta_state("convmlp_s")).assumed == {"img_size": 224}
    assert recognise(meta_state("raftmlp_s")).assumed == {"rafts": (2, 2, 2, 2), "in_chans": 3}
    assert recognise(meta_state("smlpnet_t", img_size=(224, 160))).assumed == {}
    assert recognise(meta_state("gmlp_ti")).assumed == {"img_size": (224, 224)}
    assert recognise(meta_state("gmlp_ti"), given={"img_size": 224}).assumed == {}


def test_tokens_that_are_no_square_need_a_size() -> None:
    state = meta_state("resmlp_xs", img_size=(32, 48))
    with pytest.raises(WeightsError, match=r"96 tokens are no square.*\[32, 48\], \[24, 64\]") as error:
        recognise(state)
    assert '--hyper.img_size "[32, 48]"' in error.value.hint
    assert recognise(state, given={"img_size": [48, 32]}).model.img_size == (48, 32)
    with pytest.raises(WeightsError, match=r"misshaped.*token_mix\.weight is 96×96, the model has 64×64"):
        recognise(state, given={"img_size": 32})


def test_a_permutators_size_is_asked_for_with_those_that_fit() -> None:
    with pytest.raises(WeightsError, match=r"img_size=\(224, 224\) does not fit the shapes; 8, 16, 32, 64 would") as error:
        recognise(ORACLES["vip"].state())
    assert "--hyper.img_size 8" in error.value.hint


def test_squares_of_a_raft_embedding_that_may_be_several_are_listed() -> None:
    kernels = ((3, 9, 15),)
    model = create_model("raftmlp", dims=(4,), depths=(1,), patch_sizes=(3,), rafts=(2,), kernels=kernels, img_size=12)
    with pytest.raises(WeightsError, match=r"may be \(1, 5, 17\) or \(3, 9, 15\)") as error:  # 1 + 25 + 289 = 9 + 81 + 225
        recognise(model.state_dict())
    assert "--hyper.kernels" in error.value.hint
    known = recognise(model.state_dict(), given={"kernels": [[3, 9, 15]]})
    assert (known.model.hyperparameters["patch_sizes"], known.model.img_size) == ((3,), (12, 12))


def test_two_variants_with_the_same_shapes_need_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    variants = {"asmlp_t": family_of("asmlp").variants["asmlp_t"]}
    variants["asmlp_t3"] = {**variants["asmlp_t"], "shift": 3}
    family = replace(family_of("asmlp"), variants=variants)
    monkeypatch.setattr("allmlp.registry._families", {"asmlp": family})
    monkeypatch.setattr("allmlp.registry._family_of", dict.fromkeys(variants, family))
    with pytest.raises(WeightsError, match=r"those of asmlp_t and of asmlp_t3, which differ in what no shape") as error:
        recognise(meta_state("asmlp_t"))
    assert error.value.hint == "say which: --model asmlp_t"
    assert recognise(meta_state("asmlp_t"), name="asmlp_t3").model.hyperparameters["shift"] == 3


def without(state: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if k not in names}


MISTAKES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("nothing known", lambda: {"conv1.weight": torch.zeros(1)}, {}, "of no model that allmlp knows: conv1.weight"),
    (
        "another variant",
        lambda: meta_state("resmlp_s12"),
        {"name": "resmlp_s24"},
        "not those of resmlp_s24: depth is 12, not 24",
    ),
    ("another family", lambda: meta_state("resmlp_s12"), {"name": "mixer_s16"}, "of the family resmlp, not of mixer_s16"),
    ("unknown name", lambda: meta_state("resmlp_s12"), {"name": "resmlp_12"}, "no model is named 'resmlp_12'"),
    ("unknown value", lambda: meta_state("resmlp_s12"), {"given": {"wings": 2}}, "no hyper-parameter 'wings'"),
    ("impossible", lambda: meta_state("asmlp_t"), {"given": {"shift": 4}}, "shift=4 is even"),
    ("contradiction", lambda: meta_state("resmlp_s12"), {"given": {"dim": 100}}, "does not fit resmlp_s12"),
    ("a bad size", lambda: meta_state("asmlp_t"), {"given": {"img_size": "big"}}, "img_size='big' is neither"),
    ("a surplus", lambda: {**meta_state("mixer_xs"), "x.weight": torch.zeros(1)}, {}, r"unexpected \(1\): x.weight"),
    ("a gap", lambda: without(meta_state("mixer_xs"), "norm.weight"), {}, r"missing \(1\): norm.weight"),
    ("a stem gone", lambda: without(meta_state("mixer_xs"), "patches.proj.weight"), {}, "'patches.proj.weight' is missing"),
    ("a flat stem", lambda: {**meta_state("mixer_xs"), "patches.proj.weight": torch.zeros(3)}, {}, "but not their shapes"),
    (
        "empty",
        lambda: {**meta_state("mixer_xs"), "patches.proj.weight": torch.zeros(0, 0, 0, 0)},
        {},
        "patch_size=0 is",
    ),
    (
        "a block apart",
        lambda: {**meta_state("mixer_xs"), "blocks.99999999.x": torch.zeros(1)},
        {},
        "there are 7, with numbers up to 99999999",
    ),
    ("odd windows", lambda: meta_state("eamlp_7", in_chans=1), {}, "49 inputs of the first soft split are no square windows"),
    ("folded", lambda: fold(build("resmlp_xs")).state_dict(), {}, "token_norm|is missing|missing"),
]


@pytest.mark.parametrize(("state", "options", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_what_is_not_understood_is_refused_with_a_way_out(state: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(AllmlpError, match=said) as error:
        recognise(state(), **options)
    assert isinstance(error.value, WeightsError | ModelError)
    assert error.value.hint
