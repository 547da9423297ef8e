"""What words mean to `allmlp profile`."""

from pathlib import Path

import pytest
import torch

from allmlp.errors import AllmlpError, ModelError, RunError
from allmlp.models.base import ImageModel
from allmlp.nn.affine import Affine
from allmlp.profiling.subjects import Subject, subjects
from allmlp.timm_names import names_of_timm


def names(found: list[Subject]) -> list[str]:
    return [subject.name for subject in found]


def test_patterns_mean_every_variant_and_nothing_comes_twice() -> None:
    found = subjects(["resmlp_s12", "resmlp_s??"], ["resnet18", "resnet1[48]"])
    assert names(found) == ["resmlp_s12", "resmlp_s24", "resmlp_s36", "resnet18"]


def test_a_size_of_its_own_wins_over_everybodys() -> None:
    found = subjects(["resmlp_xs@64", "mixer_xs"], ["resnet18@96", "resnet34"], size=48)
    assert [(s.name, s.side) for s in found] == [("resmlp_xs", 64), ("mixer_xs", 48), ("resnet18", 96), ("resnet34", 48)]


def test_one_model_at_two_sizes_is_two_subjects() -> None:
    assert [s.side for s in subjects(["resmlp_xs@32", "resmlp_xs@64"])] == [32, 64]


def test_folding_adds_the_inference_form_beside_each_of_ours_only() -> None:
    found = subjects(["resmlp_xs"], ["resnet18"], folded=True)
    assert [(s.name, s.folded) for s in found] == [("resmlp_xs", False), ("resmlp_xs", True), ("resnet18", False)]
    plain, inference = (subject.build()[0] for subject in found[:2])
    scales = [sum(isinstance(part, Affine) for part in model.modules()) for model in (plain, inference)]
    assert scales[0] > scales[1]


@pytest.mark.parametrize(
    ("subject", "shape"),
    [
        (Subject(name="resmlp_xs", kind="allmlp"), (3, 32, 32)),
        (Subject(name="resmlp_xs", kind="allmlp", side=64), (3, 64, 64)),
        (Subject(name="test_vit", kind="timm"), (3, 160, 160)),
        (Subject(name="test_vit", kind="timm", side=96), (3, 96, 96)),
        (Subject(name="test_resnet", kind="timm"), (3, 160, 160)),
        (Subject(name="test_resnet", kind="timm", side=96), (3, 96, 96)),
    ],
)
def test_a_model_is_built_for_the_size_it_is_asked_for(subject: Subject, shape: tuple[int, int, int]) -> None:
    model, given = subject.build()
    assert given == shape
    assert isinstance(model, ImageModel) == (subject.kind == "allmlp")
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, *shape)).shape == (1, 1000)


def test_timms_names_are_timms_own_and_tags_of_weights_are_understood() -> None:
    assert {"resnet50", "resmlp_12_224"} <= set(names_of_timm())
    assert not {"resmlp_s12", "smlpnet_t"} & set(names_of_timm())
    assert names(subjects([], ["resnet50.a1_in1k"])) == ["resnet50.a1_in1k"]


@pytest.mark.parametrize(
    ("given", "against", "said", "hint"),
    [
        (["resmlp_s13"], [], "resmlp_s13", "did you mean resmlp_s"),
        (["zzz_*"], [], "no model matches 'zzz_*'", "allmlp models"),
        (["resmlp"], [], "resmlp is a family", "resmlp_s12"),
        (["resnet50@160"], [], "resnet50 is timm's", "--against resnet50@160"),
        (["resmlp_xs@small"], [], "'small' is not an image size", "resmlp_xs@224"),
        (["resmlp_xs@0"], [], "'0' is not an image size", "resmlp_xs@224"),
        ([], ["resnet49"], "timm has no model named 'resnet49'", "did you mean"),
        ([], ["zzz*"], "no model of timm's matches", "timm.list_models()"),
        ([], ["resmlp_s12"], "resmlp_s12 is allmlp's", "before --against"),
        ([], ["resnet50.nope"], "nope", "--against resnet50"),
        ([], ["hf-hub:timm/resnet50"], "timm has no model named", ""),
    ],
)
def test_a_name_that_means_nothing_is_explained(given: list[str], against: list[str], said: str, hint: str) -> None:
    with pytest.raises(ModelError) as error:
        subjects(given, against)
    assert said in error.value.what
    assert hint in error.value.hint


@pytest.mark.parametrize("word", ["no/such/run", "x.safetensors", "."])
def test_a_path_that_is_no_run_is_refused_before_anything_is_measured(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="is not a run folder"):
        subjects([word])


def test_a_size_that_does_not_fit_is_the_models_own_error() -> None:
    with pytest.raises(AllmlpError):
        Subject(name="resmlp_s12", kind="allmlp", side=225).build()
