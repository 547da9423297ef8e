"""Parameters and multiply-adds of every published variant, against the released code's."""

import pytest
import torch

from allmlp.engine.cost import multiply_adds, parameters
from allmlp.models import create_model, list_models
from allmlp.models.base import ImageModel

# variant: (parameters, multiply-adds in billions), counted on the released code at its own size and 1000 classes
RELEASED = {
    "mixer_s32": (19_104_624, 1.002),
    "mixer_s16": (18_528_264, 3.777),
    "mixer_b32": (60_293_428, 3.238),
    "mixer_b16": (59_880_472, 12.602),
    "mixer_l32": (206_939_264, 11.253),
    "mixer_l16": (208_196_168, 44.548),
    "mixer_h14": (432_350_952, 120.99),
    "resmlp_s12": (15_350_872, 3.010),
    "resmlp_s24": (30_020_680, 5.961),
    "resmlp_s36": (44_690_488, 8.913),
    "resmlp_b24_p8": (129_138_280, 100.231),
    "resmlp_s12_p8": (22_051_624, 13.989),
    "gmlp_ti": (5_867_328, 1.329),
    "gmlp_s": (19_422_656, 4.392),
    "gmlp_b": (73_075_392, 15.720),
    "eamlp_7": (6_096_206, 1.465),  # trainable ones; the multiply-adds are ours, see the articles' below
    "eamlp_14": (29_801_422, 6.450),
    "eamlp_19": (54_470_798, 11.598),
    "ffonly_tiny": (7_676_332, 1.442),
    "ffonly_base": (61_943_020, 14.132),
    "ffonly_large": (206_213_048, 10.713),
    "vip_s14": (29_892_904, 6.856),
    "vip_s7": (25_114_984, 6.902),
    "vip_m7": (55_272_488, 16.284),
    "vip_l7": (87_784_936, 24.340),
    "asmlp_t": (28_282_696, 4.350),
    "asmlp_s": (49_594_696, 8.512),
    "asmlp_b": (87_752_808, 15.126),
    "convmlp_s": (9_022_920, 2.385),
    "convmlp_m": (17_410_504, 3.929),
    "convmlp_l": (42_728_440, 9.870),
    "raftmlp_s": (9_868_768, 2.087),
    "raftmlp_m": (21_413_632, 4.267),
    "raftmlp_l": (36_184_672, 6.544),
    "repmlpnet_t224": (38_293_608, 2.808),
    "repmlpnet_b224": (68_242_712, 6.676),
    "repmlpnet_t256": (58_687_848, 4.258),
    "repmlpnet_b256": (96_447_512, 9.640),
    "repmlpnet_d256": (86_887_648, 8.636),
    "repmlpnet_l256": (117_641_560, 11.609),
    "smlpnet_t": (24_123_584, 4.989),
    "smlpnet_s": (48_558_136, 10.312),
    "smlpnet_b": (65_880_408, 13.987),
}
# variant: (parameters in millions, decimals printed), from the papers, for variants without released code
PRINTED = {
    "resmlp_b24": (116, 0),
    "resmlp_s12_p14": (15.6, 1),
    "resmlp_s12_class": (17.72, 2),
    "resmlp_s24_class": (32.39, 2),
    "resmlp_s36_class": (47.06, 2),
}
OURS_ALONE = {name for name in list_models() if name.endswith("_xs")}


def on_meta(name: str, **hyperparameters: object) -> ImageModel:
    with torch.device("meta"):
        return create_model(name, **hyperparameters)


def test_every_variant_is_checked() -> None:
    assert set(list_models()) == {*RELEASED, *PRINTED, *OURS_ALONE}


@pytest.mark.parametrize("name", RELEASED)
def test_released_variants_have_the_released_number_of_parameters(name: str) -> None:
    assert parameters(on_meta(name)) == RELEASED[name][0]


@pytest.mark.parametrize("name", RELEASED)
def test_released_variants_cost_what_the_released_code_costs(name: str) -> None:
    assert multiply_adds(on_meta(name)) / 1e9 == pytest.approx(RELEASED[name][1], rel=0.01)


@pytest.mark.parametrize("name", PRINTED)
def test_other_published_variants_have_the_printed_size(name: str) -> None:
    millions, decimals = PRINTED[name]
    assert round(parameters(on_meta(name)) / 1e6, decimals) == millions


@pytest.mark.parametrize(
    ("name", "billions"),
    [("resmlp_b24", 23.0), ("resmlp_s12", 3.0), ("resmlp_s36", 8.9), ("eamlp_14", 6.5), ("eamlp_19", 11.6)],
)
def test_multiply_adds_are_the_articles(name: str, billions: float) -> None:
    assert round(multiply_adds(on_meta(name)) / 1e9, 1) == billions


@pytest.mark.parametrize("name", sorted(OURS_ALONE))
def test_small_variants_are_for_small_images(name: str) -> None:
    model = on_meta(name)
    assert model.img_size == (32, 32)
    assert parameters(model) < 3e6
