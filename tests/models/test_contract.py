"""The contract of contract.py, for every registered model."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from allmlp.errors import ModelError, ShapeError
from allmlp.models import list_models
from allmlp.registry import families, family_of
from allmlp.weights.files import write_tensors
from allmlp.weights.load import load_weights
from contract import CLASSES, PATCH, SMALL, awake, build, images

every_model = pytest.mark.parametrize("name", SMALL)
SIDE = {name: values["img_size"] for name, values in SMALL.items()}


def test_every_family_is_under_contract() -> None:
    assert {family_of(name).name for name in SMALL} == {family.name for family in families()}
    assert {family_of(name).name for name in list_models()} == {family.name for family in families()}


@every_model
@pytest.mark.parametrize(
    ("change", "in_chans", "rows", "columns"),
    [({}, 3, 1, 1), ({"wide": True}, 3, 1, 2), ({"tall": True}, 3, 2, 1), ({"in_chans": 1}, 1, 1, 1)],
    ids=["square", "wide", "tall", "grey"],
)
def test_images_become_one_logit_a_class(name: str, change: dict[str, Any], in_chans: int, rows: int, columns: int) -> None:
    size = (rows * SIDE[name], columns * SIDE[name])
    model = build(name, img_size=size, in_chans=in_chans).eval()
    assert (model.img_size, model.in_chans) == (size, in_chans)
    assert model(torch.randn(2, in_chans, *size)).shape == (2, CLASSES)


@every_model
def test_without_classes_the_pooled_features_come_out(name: str) -> None:
    model = build(name, num_classes=0).eval()
    x = images(model)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert model(x).shape == (3, model.num_features)
    torch.testing.assert_close(model(x), model.forward_head(model.forward_features(x), pre_logits=True), rtol=0, atol=0)


@every_model
def test_forward_is_the_head_of_the_features(name: str) -> None:
    model = awake(build(name)).eval()
    x = images(model)
    features = model.forward_features(x)
    assert features.shape[0] == 3
    assert features.shape[2] == model.num_features
    torch.testing.assert_close(model(x), model.forward_head(features), rtol=0, atol=0)
    pooled = model.forward_head(features, pre_logits=True)
    torch.testing.assert_close(model(x), model.head(pooled), rtol=0, atol=0)


@every_model
def test_gradients_reach_every_parameter(name: str) -> None:
    model = awake(build(name, drop_path=0.0)).train()
    nn.functional.cross_entropy(model(images(model, 4)), torch.tensor([0, 1, 2, 3])).backward()
    dead = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert dead == []


@every_model
def test_evaluation_is_deterministic_and_images_do_not_meet(name: str) -> None:
    model = awake(build(name, drop_path=0.5)).eval()
    x = images(model)
    logits = model(x)
    assert torch.equal(model(x), logits)
    one_by_one = torch.cat([model(image[None]) for image in x])
    torch.testing.assert_close(one_by_one, logits, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits[0], logits[1])


@every_model
def test_weights_survive_a_file(name: str, tmp_path: Path) -> None:
    model = awake(build(name))
    model.train()(images(model, 4))  # running statistics move away from their start
    write_tensors(tmp_path / "weights.safetensors", model.state_dict())
    torch.manual_seed(99)
    twin = model.twin()
    assert not torch.equal(twin.eval()(images(model)), model.eval()(images(model)))
    assert load_weights(twin, tmp_path / "weights.safetensors") == "allmlp"
    assert torch.equal(twin(images(model)), model(images(model)))


@every_model
@pytest.mark.parametrize("again", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_copies_compute_the_same_and_share_nothing(name: str, again: Any) -> None:
    model = awake(build(name, drop_path=0.1)).eval()
    model.classes = tuple("abcde")
    twin = again(model)
    assert torch.equal(twin(images(model)), model(images(model)))
    assert (twin.name, twin.classes, twin.preprocessing) == (model.name, model.classes, model.preprocessing)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert next(model.parameters()).abs().sum() > 0


@every_model
def test_torch_export_computes_the_same(name: str) -> None:
    model = awake(build(name, drop_path=0.1)).eval()
    exported = torch.export.export(model, (images(model),)).module()
    torch.testing.assert_close(exported(images(model, seed=5)), model(images(model, seed=5)))


def compiled_computes_the_same(name: str, backend: str) -> None:
    torch._dynamo.reset()
    model = awake(build(name, drop_path=0.1)).eval()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with torch.no_grad():
        torch.testing.assert_close(compiled(images(model)), model(images(model)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every_model
def test_torch_compile_captures_the_whole_model_in_one_graph(name: str) -> None:
    """Up to the code generator, which needs a minute a model: it is torch's own part."""
    compiled_computes_the_same(name, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resmlp_s12", "smlpnet_xs"])
def test_torch_compile_computes_the_same(name: str) -> None:
    compiled_computes_the_same(name, "inductor")


@every_model
def test_stochastic_depth_acts_in_training_only(name: str) -> None:
    still, random = build(name, drop_path=0.0).double(), build(name, drop_path=0.9).double()
    random.load_state_dict(still.state_dict())
    x = images(still, 8).double()

    def features(model: nn.Module, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return model.forward_features(x)  # type: ignore[operator]

    assert torch.equal(features(random.eval(), 0), features(still.eval(), 1))
    assert torch.equal(features(still.train(), 0), features(still.train(), 1))
    assert torch.equal(features(random.train(), 0), features(random.train(), 0))
    assert not torch.equal(features(random.train(), 0), features(random.train(), 1))


@every_model
@pytest.mark.parametrize(
    "wrong",
    [
        lambda b, c, h, w: (b, c, h + PATCH, w),
        lambda b, c, h, w: (b, c, h, w - PATCH),
        lambda b, c, h, w: (b, c, h + 1, w),
        lambda b, c, h, w: (b, 1, h, w),
        lambda b, c, h, w: (c, h, w),
        lambda b, c, h, w: (b, h, w, c),
    ],
    ids=["higher", "narrower", "one pixel more", "grey", "no batch", "channels last"],
)
def test_an_image_of_another_shape_is_refused_with_the_right_one(name: str, wrong: Any) -> None:
    model = build(name)
    height, width = model.img_size
    with pytest.raises(ShapeError, match=f"batch × 3 × {height} × {width}") as error:
        model(torch.zeros(wrong(2, 3, height, width)))
    assert error.value.hint


@every_model
def test_intermediates_are_the_steps_in_order(name: str) -> None:
    model = build(name).eval()
    x = images(model)
    tokens, maps = model.forward_intermediates(x)
    torch.testing.assert_close(tokens, model.forward_features(x), rtol=0, atol=0)
    assert len(maps) == len(model.steps()) == len(model.feature_info)
    for shown, info in zip(maps, model.feature_info, strict=True):
        rows, columns = (side // info["reduction"] for side in model.img_size)
        assert shown.shape == (3, info["num_chs"], rows, columns)
    y = model.begin(x)
    for step, shown in zip(model.steps(), maps, strict=True):
        y = step(y)
        torch.testing.assert_close(shown, model.grid_view(y), rtol=0, atol=0)


@every_model
def test_intermediates_as_tokens_are_the_maps_in_raster_order(name: str) -> None:
    model = build(name, img_size=(SIDE[name], 2 * SIDE[name])).eval()
    maps = model.forward_intermediates(images(model), intermediates_only=True)
    lists = model.forward_intermediates(images(model), intermediates_only=True, output_fmt="NLC")
    for shown, tokens in zip(maps, lists, strict=True):
        columns = shown.shape[3]
        assert columns == 2 * shown.shape[2]
        torch.testing.assert_close(tokens[:, columns + 1], shown[:, :, 1, 1], rtol=0, atol=0)


@every_model
@pytest.mark.parametrize("indices", [0, -1, 1000, [], [1000], [-1000]])
def test_intermediates_that_do_not_exist_are_refused(name: str, indices: Any) -> None:
    with pytest.raises(ModelError, match="do not fit"):
        build(name).forward_intermediates(images(build(name)), indices)


@every_model
def test_stopping_early_skips_the_later_steps(name: str) -> None:
    model = build(name).eval()
    ran = []
    for i, step in enumerate(model.steps()):
        step.register_forward_hook(lambda *_, i=i: ran.append(i))
    (first,) = model.forward_intermediates(images(model), [0], stop_early=True, intermediates_only=True)
    assert ran == [0]
    torch.testing.assert_close(first, model.forward_intermediates(images(model), intermediates_only=True)[0], rtol=0, atol=0)


@every_model
def test_a_new_classifier_keeps_the_features_and_forgets_the_classes(name: str) -> None:
    model = awake(build(name)).eval().double()
    model.classes = tuple("abcde")
    x = images(model).double()
    features = model.forward_features(x)
    model.reset_classifier(7)
    assert model(x).shape == (3, 7)
    assert (model.num_classes, model.classes, model.hyperparameters["num_classes"]) == (7, None, 7)
    assert model.get_classifier().weight.dtype == torch.float64
    assert torch.equal(model.forward_features(x), features)
    assert {k: v.shape for k, v in model.twin().state_dict().items()} == {k: v.shape for k, v in model.state_dict().items()}
    model.reset_classifier(0)
    assert torch.equal(model(x), model.forward_head(features, pre_logits=True))


@every_model
@pytest.mark.parametrize("arguments", [(-1,), (2.5,), ("7",), (True,), (7, "max")])
def test_an_impossible_classifier_is_refused_and_the_old_one_stays(name: str, arguments: tuple[Any, ...]) -> None:
    model = awake(build(name)).eval()
    logits = model(images(model))
    with pytest.raises(ModelError):
        model.reset_classifier(*arguments)
    assert torch.equal(model(images(model)), logits)
    assert model.num_classes == CLASSES


@every_model
def test_parameters_that_never_decay_are_parameters(name: str) -> None:
    model = build(name)
    assert model.no_weight_decay() <= {n for n, _ in model.named_parameters()}
