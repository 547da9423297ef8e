"""Hyper-parameters that cannot be built: every one is refused in words, with a hint, before any tensor is made."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allmlp.errors import ModelError
from allmlp.models import create_model
from allmlp.nn.mlp import Mlp
from helpers import attempt

FAMILIES: dict[str, dict[str, Any]] = {
    "mixer": dict(dim=8, depth=2, patch_size=4, token_hidden=4, channel_hidden=8, img_size=16, num_classes=3),
    "gmlp": dict(dim=8, depth=2, patch_size=4, expansion=6, img_size=16, num_classes=3),
    "ffonly": dict(dim=8, depth=2, patch_size=4, expansion=4, img_size=16, num_classes=3),
    "resmlp": dict(dim=8, depth=2, patch_size=4, layer_scale=0.1, expansion=2, head="mean", img_size=16, num_classes=3),
    "eamlp": dict(dim=8, depth=2, heads=2, patch_size=4, expansion=3, img_size=16, num_classes=3),
    "vip": dict(
        dims=(8, 12), depths=(1, 1), segments=(4, 2), patch_size=4, transitions=(True,), expansions=(3, 2), img_size=16
    ),
    "smlpnet": dict(dim=4, depths=(1, 1), patch_size=4, expansion=2, img_size=16, num_classes=3),
}
EVERY = {family: {**values, "in_chans": 3, "drop_path": 0.1} for family, values in FAMILIES.items()}
EVERY["mixer"]["act"] = "gelu"
EVERY |= {  # families with values of their own; their messages are tested next to their other facts
    "asmlp": dict(
        dim=4, depths=(1, 1), patch_size=2, shift=3, expansion=2, img_size=16, num_classes=3, in_chans=3, drop_path=0.1
    ),
    "convmlp": dict(
        channels=4, dims=(4, 6), depths=(1, 1), expansions=(2, 1.5), conv_blocks=1, img_size=16, num_classes=3, in_chans=3
    ),
    "raftmlp": dict(
        dims=(4, 6), depths=(1, 1), patch_sizes=(4, 2), rafts=(2, 1), kernels=((4, 8), (2,)), shortcut=True, img_size=16
    ),
    "repmlpnet": dict(
        dim=4, depths=(1, 1), sharesets=(1, 2), patch_size=2, kernels=(1, 3), expansion=2, form="training", img_size=16
    ),
}
WHOLES = {"dim", "depth", "heads", "patch_size", "token_hidden", "channel_hidden", "num_classes", "in_chans", "shift"}
SHARES = {"drop_path"}
NOT_WHOLE: list[Any] = [
    0,
    -3,
    2.0,
    2.5,
    "8",
    True,
    [8],
    {},
    float("nan"),
    float("inf"),
    Fraction(2),
    10**30,
    np.float32(4),
    b"8",
]
NOT_A_SHARE: list[Any] = [-0.1, 1, 1.5, float("nan"), float("inf"), "0.1", None, True, [0.1], 10**400]


def cases() -> list[Any]:
    found = []
    for family, values in EVERY.items():
        for name in values:
            if name in WHOLES:
                bad: list[Any] = NOT_WHOLE if name != "num_classes" else [v for v in NOT_WHOLE if v != 0]
                bad = bad if name.endswith("hidden") else [*bad, None]
            else:
                bad = NOT_A_SHARE if name in SHARES else []
            found += [pytest.param(family, name, value, id=f"{family}-{name}={value!r:.12}") for value in bad]
    return found


@pytest.mark.parametrize(("family", "name", "value"), cases())
def test_an_impossible_value_is_refused_by_name_with_a_hint(family: str, name: str, value: Any) -> None:
    with pytest.raises(ModelError, match=f"^{name}=") as error:
        create_model(family, **{**EVERY[family], name: value})
    assert error.value.hint


@pytest.mark.parametrize(
    ("family", "values", "what", "hint"),
    [
        ("mixer", dict(act="relu"), "act='relu' is not known", "gelu"),
        ("mixer", dict(act="gelu_tan"), "act='gelu_tan' is not known", "did you mean gelu_tanh?"),
        ("mixer", dict(dim=0), "dim=0 is less than 1", "as an int ≥ 1"),
        ("mixer", dict(dim=8.0), "dim=8.0 is not a whole number", "as an int ≥ 1"),
        ("mixer", dict(dim=2_000_000), "dim=2000000 is more than 1,000,000", "as an int ≤ 1000000"),
        ("resmlp", dict(head="cls"), "head='cls' is not known", "class_mlp, mean"),
        ("resmlp", dict(expansion=0), "expansion=0 leaves no hidden channel of 8", "at least 0.125"),
        ("smlpnet", dict(expansion=0.1), "expansion=0.1 leaves no hidden channel of 4", "at least 0.25"),
        ("resmlp", dict(expansion="4"), "expansion='4' is not a number", "in that range"),
        ("resmlp", dict(expansion=1e300), "expansion=1e+300", ""),
        ("resmlp", dict(layer_scale=1e300), "layer_scale=1e+300", ""),
        ("resmlp", dict(head=np.zeros(2)), "head=array", "class_mlp, mean"),
        ("resmlp", dict(layer_scale=-1), "layer_scale=-1 is not a number", "in that range"),
        ("smlpnet", dict(depths=()), "is not a list of whole numbers", "(2, 8, 14, 2)"),
        ("smlpnet", dict(depths="22"), "is not a list of whole numbers", "(2, 8, 14, 2)"),
        ("smlpnet", dict(depths=3), "is not a list of whole numbers", "(2, 8, 14, 2)"),
        ("smlpnet", dict(depths=(1, 0)), "depths[1]=0", "as an int ≥ 1"),
        ("smlpnet", dict(depths=(1, 1.5)), "depths[1]=1.5", "as an int ≥ 1"),
        ("mixer", dict(img_size=18), "not a multiple of the patch of 4 pixels", "use 16 or 20"),
        ("mixer", dict(img_size=(16, 18)), "not a multiple of the patch of 4 pixels", "use 16 or 20"),
        ("mixer", dict(img_size=3), "not a multiple of the patch of 4 pixels", "use 4 or 4"),
        ("mixer", dict(img_size=(16,)), "neither an int nor (height, width)", "img_size=224"),
        ("mixer", dict(img_size=(16, 16, 3)), "neither an int nor (height, width)", "img_size=224"),
        ("mixer", dict(img_size="16"), "img_size='16'", "as an int"),
        ("mixer", dict(img_size=0), "img_size=0", "as an int"),
        ("mixer", dict(img_size=(16, -16)), "img_size=-16", "as an int"),
        ("mixer", dict(img_size=None), "img_size=None", "as an int"),
        ("smlpnet", dict(img_size=4), "leaves nothing for stage 2", "at least 8 pixels a side"),
        ("mixer", dict(drop_pat=0.1), "has no hyper-parameter 'drop_pat'", "did you mean drop_path?"),
        ("resmlp", dict(act="gelu"), "has no hyper-parameter 'act'", "choose one of"),
    ],
)
def test_the_message_says_what_is_wrong_and_the_hint_what_fits(
    family: str, values: dict[str, Any], what: str, hint: str
) -> None:
    with pytest.raises(ModelError) as error:
        create_model(family, **{**EVERY[family], **values})
    assert what in error.value.what
    assert error.value.hint
    assert hint in error.value.hint
    assert str(error.value) == f"{error.value.what}\n  hint: {error.value.hint}"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_needs_its_own_values(family: str) -> None:
    with pytest.raises(ModelError, match=f"{family} is a family: it does not say dims?, depths?") as error:
        create_model(family)
    assert f"{family}_" in error.value.hint


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-20, 64),
    st.floats(-4, 4) | st.sampled_from([float("nan"), float("inf"), -float("inf")]),
    st.text(max_size=6),
    st.binary(max_size=4),
    st.sampled_from(["mean", "class_mlp", "gelu", "gelu_tanh", 224, 32, 1e-300, 1e300, 10**18, np.int64(8), object()]),
)
anything = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.dictionaries(st.text(max_size=2), scalars, max_size=2),
    st.builds(lambda n: np.zeros(n), st.integers(0, 3)),
    st.builds(lambda n: torch.zeros(n), st.integers(0, 3)),
)


@pytest.mark.parametrize("family", EVERY)
@given(data=st.data())
def test_random_values_give_a_model_or_a_model_error(family: str, data: st.DataObject) -> None:
    changed = data.draw(st.dictionaries(st.sampled_from(sorted(EVERY[family])), anything, min_size=1, max_size=2))
    with torch.device("meta"):
        model, error = attempt(ModelError, lambda: create_model(family, **{**EVERY[family], **changed}).eval())
    if error:
        assert error.hint
    else:
        image = torch.empty(1, model.in_chans, *model.img_size, device="meta")
        assert model(image).shape == (1, model.num_classes or model.num_features)


@pytest.mark.parametrize(("family", "depth"), [("resmlp", {"depth": 1}), ("smlpnet", {"depths": (1,)})])
@pytest.mark.parametrize("dim", [3, 49])
def test_an_expansion_that_is_just_enough_leaves_one_hidden_channel(family: str, depth: dict[str, Any], dim: int) -> None:
    model = create_model(family, dim=dim, expansion=1 / dim, img_size=16, **depth)  # 1 / 49 * 49 < 1 in floating point
    assert {m.fc1.out_features for m in model.modules() if isinstance(m, Mlp)} == {1}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_class_built_by_hand_can_do_what_a_named_model_can(family: str) -> None:
    kind = type(create_model(family, **FAMILIES[family]))
    model = kind(**FAMILIES[family])
    assert len(model.feature_info) == len(model.steps())
    model.reset_classifier(4)
    assert model.twin().num_classes == 4
