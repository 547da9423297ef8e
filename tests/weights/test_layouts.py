"""Layouts are read in both directions: what one changes, the other undoes."""

from typing import Any

import pytest
import torch
from torch import Tensor

from allmlp.errors import WeightsError
from allmlp.models import list_models
from allmlp.registry import families, family_of
from allmlp.weights.layouts import LAYOUTS, layout_for, recognise
from allmlp.weights.layouts.table import Layout
from contract import SMALL, build
from helpers import meta_state
from oracle import ORACLES, older

WRITTEN = [(name, layout) for name in list_models() for layout in LAYOUTS if layout.family == family_of(name).name]
FORMS: dict[str, dict[str, Any]] = {"raft-mlp, shortcut": {"shortcut": True}, "repmlp, deployed": {"form": "deployed"}}
"""Layouts of a form that no variant has by itself."""


def theirs_of(layout: Layout, ours: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of ours as the source writes it."""
    return {
        name: layout.axes_of(name).to_theirs(ours[mine]) for mine, name in layout.names_of(ours).items() if name is not None
    }


def ours_of(layout: Layout, theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {mine: layout.to_ours(name, theirs[name]) for name, mine in layout.names_back(theirs).items() if mine is not None}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("oracle", ORACLES)
def test_official_to_ours_to_official_is_the_identity(oracle: str) -> None:
    theirs = ORACLES[oracle].state()
    layout = recognise(list(theirs))
    assert layout is not None
    assert layout.source == ORACLES[oracle].layout
    ours = ours_of(layout, theirs)
    assert len(ours) == len(theirs)
    assert same(theirs_of(layout, ours), theirs)


def test_googles_older_layout_to_ours_and_back_is_the_identity() -> None:
    theirs = older(ORACLES["mixer_official"].state())
    layout = recognise(list(theirs))
    assert layout is not None
    assert layout.source == "google, older"
    assert same(theirs_of(layout, ours_of(layout, theirs)), theirs)
    padded = {name: tensor[None] if name.endswith(("1", "2")) else tensor for name, tensor in theirs.items()}
    assert same(ours_of(layout, padded), ours_of(layout, theirs))


@pytest.mark.parametrize(("name", "layout"), WRITTEN, ids=lambda v: v if isinstance(v, str) else v.source)
def test_ours_to_official_to_ours_is_the_identity_for_every_variant(name: str, layout: Layout) -> None:
    ours = meta_state(name, **FORMS.get(layout.source, {}))
    if "class_token" in ours and layout.family == "resmlp":
        assert None in layout.names_of(ours).values()  # class-MLP has no public code
        return
    theirs = theirs_of(layout, ours)
    assert len(theirs) == len(ours)
    assert recognise(list(theirs)) is layout
    back = ours_of(layout, theirs)
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in ours.items()}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.source)
def test_a_stranger_name_has_no_name_on_the_other_side(layout: Layout) -> None:
    assert layout.names_of(["surplus.weight"]) == {"surplus.weight": None}
    assert layout.names_back({"surplus.weight": torch.zeros(1)}) == {"surplus.weight": None}


@pytest.mark.parametrize("name", SMALL)
def test_no_layout_claims_our_own_names(name: str) -> None:
    assert recognise(list(build(name).state_dict())) is None


def test_the_layout_of_a_kind_is_found_by_what_it_can_name() -> None:
    def source(kind: str, name: str, **hyper: Any) -> str:
        return layout_for(kind, family_of(name).name, meta_state(name, **hyper))[0].source

    assert source("official", "mixer_xs") == "google"
    assert source("timm", "mixer_xs") == "timm"
    assert source("official", "raftmlp_s") == "raft-mlp"
    assert source("official", "raftmlp_s", shortcut=True) == "raft-mlp, shortcut"
    assert source("official", "repmlpnet_t224") == "repmlp"
    assert source("official", "repmlpnet_t224", form="deployed") == "repmlp, deployed"


@pytest.mark.parametrize(
    ("kind", "name", "hyper", "said", "hint"),
    [
        ("official", "gmlp_ti", {}, "gmlp has no layout 'official'", "choose one of allmlp, timm"),
        ("timm", "vip_s7", {}, "vip has no layout 'timm'", "choose one of allmlp, official"),
        ("tim", "mixer_xs", {}, "mixer has no layout 'tim'", "did you mean timm?"),
        ("official", "smlpnet_xs", {"fusion": "split_attention"}, "the layout spach has no name for", "own layout"),
        ("official", "resmlp_s12_class", {}, "the layout deit has no name for .* such as class_token", "own layout"),
        ("timm", "resmlp_xs", {"token_mixing": "mlp"}, "the layout timm has no name for", "own layout"),
        ("timm", "resmlp_xs", {"norm": "layernorm"}, "the layout timm has no name for", "own layout"),
    ],
)
def test_what_a_layout_cannot_say_is_an_error(kind: str, name: str, hyper: dict[str, Any], said: str, hint: str) -> None:
    with pytest.raises(WeightsError, match=said) as error:
        layout_for(kind, family_of(name).name, meta_state(name, **hyper))
    assert hint in error.value.hint


def test_every_family_has_a_layout_of_its_own() -> None:
    assert {layout.family for layout in LAYOUTS} == {family.name for family in families()}
