"""The table of released checkpoints agrees with the registry, with timm, and with itself."""

import pytest
import torch
from timm.models.mlp_mixer import default_cfgs

from allmlp.errors import WeightsError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import HALF, IMAGENET_MEAN, IMAGENET_STD
from allmlp.registry import family_of
from allmlp.released.classes import DATA_SETS, class_names
from allmlp.released.table import Released, named_like, released

every_checkpoint = pytest.mark.parametrize("entry", released().values(), ids=lambda entry: entry.name)
TIMM = {f"timm/{model}.{tag}": cfg for model, entry in default_cfgs.items() for tag, cfg in entry.cfgs.items()}


def model_of(entry: Released) -> ImageModel:
    card = entry.card()
    with torch.device("meta"):
        return create_model(card["name"], **card["hyperparameters"])


@every_checkpoint
def test_a_checkpoint_is_a_variant_that_can_be_built_for_its_preprocessing(entry: Released) -> None:
    assert entry.model in family_of(entry.model).variants
    model = model_of(entry)
    assert model.img_size == entry.preprocessing.img_size
    assert len(entry.card()["classes"]) == model.num_classes
    assert entry.card()["family"] == model.family


@every_checkpoint
def test_a_checkpoint_has_an_address_that_needs_no_trust_in_the_network(entry: Released) -> None:
    if entry.file:  # comes with allmlp
        assert entry.hub is entry.url is entry.page is None
        assert len(entry.sha256 or "") == 64
        return
    assert entry.hub or entry.url or entry.page
    assert all(address.startswith("https://") for address in (entry.url, entry.page) if address)
    assert bool(entry.page) != bool(entry.hub or entry.url)
    assert entry.sha256 is None or (entry.url and int(entry.sha256, 16) >= 0 and len(entry.sha256) >= 8)


@pytest.mark.parametrize("entry", [e for e in released().values() if e.hub], ids=lambda entry: entry.name)
def test_what_timm_has_is_what_timm_says(entry: Released) -> None:
    theirs = TIMM[entry.hub or ""]
    ours = entry.preprocessing
    assert (entry.url, entry.licence) == (theirs.url, "Apache-2.0")
    assert theirs.license == "apache-2.0"
    assert (ours.mean, ours.std, ours.interpolation) == (theirs.mean, theirs.std, theirs.interpolation)
    assert (3, *ours.img_size) == theirs.input_size
    assert len(entry.card()["classes"]) == theirs.num_classes
    # ResMLP's authors evaluate with a crop of 0.9, which timm does not say
    assert ours.crop_ratio == (0.9 if entry.model.startswith("resmlp") else theirs.crop_pct)
    if "-" in theirs.url.rpartition("/")[2]:  # the hash in the file's name
        assert entry.sha256 == theirs.url.rpartition("-")[2].removesuffix(".pth")


def test_timms_checkpoints_of_our_families_are_all_there() -> None:
    wanted = {name for name, cfg in TIMM.items() if cfg.hf_hub_id and not name.startswith("timm/gmixer")}
    assert {entry.hub for entry in released().values() if entry.hub} == wanted


@every_checkpoint
def test_preprocessing_is_the_familys_where_no_other_is_known(entry: Released) -> None:
    pixels_as_they_are, not_cropped = entry.name.startswith("mixer_b16.miil"), max(entry.preprocessing.img_size) <= 64
    if not pixels_as_they_are and not not_cropped:
        assert entry.preprocessing == model_of(entry).preprocessing


def test_preprocessing_by_hand() -> None:
    def spec(name: str) -> tuple[object, ...]:
        given = released()[name].preprocessing
        return given.mean, given.std, given.crop_ratio, given.interpolation

    assert spec("mixer_b16.goog_in21k") == (HALF, HALF, 0.875, "bicubic")
    assert spec("resmlp_s12.fb_dist_in1k") == (IMAGENET_MEAN, IMAGENET_STD, 0.9, "bicubic")
    assert spec("mixer_b16.miil_in21k_ft_in1k") == ((0, 0, 0), (1, 1, 1), 0.875, "bilinear")
    assert spec("smlpnet_s.spach_in1k") == (IMAGENET_MEAN, IMAGENET_STD, 0.875, "bicubic")
    assert released()["repmlpnet_b256.dingxiaoh_in1k"].preprocessing.img_size == (256, 256)


def test_googles_mixers_compute_with_the_tanh_form_and_others_do_not() -> None:
    mixers = [entry for entry in released().values() if entry.model.startswith("mixer")]
    assert all((entry.hyper.get("act") == "gelu_tanh") == (".goog_" in entry.name) for entry in mixers)


@pytest.mark.parametrize(("data_set", "count"), list(zip(DATA_SETS, (10, 10, 1000, 21843, 11221), strict=True)))
def test_every_class_has_a_name_of_its_own(data_set: str, count: int) -> None:
    names = class_names(data_set)
    assert len(names) == len(set(names)) == count


def test_classes_are_in_the_order_of_the_outputs() -> None:
    names = class_names("imagenet-1k")
    assert (names[0], names[207], names[999]) == (
        "tench (n01440764)",
        "golden retriever (n02099601)",
        "toilet tissue (n15075141)",
    )
    assert [name[-10:-1] for name in names] == sorted(name[-10:-1] for name in names)
    with pytest.raises(WeightsError, match="classes of 'imagenet' are not known") as error:
        class_names("imagenet")
    assert error.value.hint == "did you mean imagenet-1k?"


def test_a_file_is_known_by_its_published_name_or_ours() -> None:
    assert [e.name for e in named_like("resmlp_12_dist.pth")] == ["resmlp_s12.fb_dist_in1k"]
    assert [e.name for e in named_like("smlpnet_s.spach_in1k.safetensors")] == ["smlpnet_s.spach_in1k"]
    assert len(named_like("Mixer-B_16.npz")) == 2
    assert named_like("model.safetensors") == named_like("") == []
