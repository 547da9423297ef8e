"""The papers' numbers agree with the models they are about."""

import pytest
import timm
import torch

from allmlp.engine.cost import cost, parameters
from allmlp.models import create_model, list_models
from allmlp.profiling.published import _records, published
from allmlp.profiling.subjects import Subject
from allmlp.registry import family_of
from allmlp.timm_names import names_of_timm

OURS = [name for name in _records() if name in list_models()]
OTHERS = [name for name in _records() if name not in OURS]


def test_every_record_is_about_a_model_there_is() -> None:
    assert set(OTHERS) <= set(names_of_timm())
    assert len(OTHERS) == 9


def test_every_variant_with_a_published_accuracy_has_a_record() -> None:
    with_accuracy = {name for name in list_models() if name in family_of(name).published}
    assert with_accuracy == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_our_variants_have_the_papers_parameters(name: str) -> None:
    record = _records()[name]
    with torch.device("meta"):
        model = create_model(name)
    assert model.img_size == (record.size, record.size)
    assert record.parameters is not None
    assert parameters(model) / 1e6 == pytest.approx(record.parameters, abs=0.6)  # rounded to whole millions, gMLP's upwards


@pytest.mark.parametrize("name", OTHERS)
def test_baselines_have_the_papers_parameters_and_multiply_adds(name: str) -> None:
    record = _records()[name]
    with torch.device("meta"):
        model, shape = Subject(name=name, kind="timm", side=record.size).build()
        counted = cost(model, torch.empty(1, *shape))
    assert record.parameters is not None
    assert parameters(model) / 1e6 == pytest.approx(record.parameters, abs=1)
    assert counted.macs / 1e9 == pytest.approx(record.gmacs, rel=0.05)  # EfficientNet-B4 and B5 differ by 4 %: their padding
    assert timm.models.is_model(name)


def test_a_record_holds_for_its_own_image_size_only() -> None:
    assert published("resmlp_s12", (64, 64)) is None
    assert published("smlpnet_xs", (32, 32)) is None
    record = published("resmlp_s12", (224, 224))
    assert record is not None
    assert (record.label, record.top1, record.images_per_s, record.memory_mib) == ("ResMLP-S12", 76.6, 1415.1, 179.5)
    assert "2105.03404" in record.paper
    assert record.speed == "one V100, batch 32"


def test_every_number_is_plausible_and_has_a_source() -> None:
    for record in _records().values():
        assert "arXiv:" in record.paper
        assert record.top1 is not None
        assert 60 < record.top1 < 90
        assert (record.images_per_s is None) == (record.memory_mib is None) == (record.speed is None)
