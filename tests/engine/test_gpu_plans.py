"""Plans for GPUs, on the CPU: in plain torch they compute what the model computes, whatever stands for their parts."""

# axes: b images, c channels, h w pixels

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F

from allmlp.engine.backends import cuda
from allmlp.engine.backends.base import Runner, Wanted
from allmlp.engine.device import exact_products
from allmlp.engine.gpu import plain
from allmlp.engine.gpu.find import make_gpu_plan
from allmlp.engine.gpu.kit import Kit, cublas_gelu, kit_for
from allmlp.engine.gpu.layout import ModulesOnGpu, cut
from allmlp.engine.gpu.quickest import ROUNDS, Quickest
from allmlp.engine.plans import layout
from allmlp.models.base import ImageModel
from allmlp.surgery.fold import fold
from allmlp.surgery.resize import resize
from contract import SMALL, build, images, trained

CPU = torch.device("cpu")
OWN = ("resmlp_s12", "resmlp_s12_class", "mixer_b16")
FLOAT64, FP32, BF16 = 1e-13, 1e-5, 5e-2
"""Relative to all logits: another order of summation."""


@torch.inference_mode()
def off(model: ImageModel, given: Tensor, dtype: torch.dtype) -> float:  # b c h w
    due, plan = model(given), make_gpu_plan(model, CPU, dtype)
    got = plan(given)
    assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    return float((got - due).norm() / due.norm())


@pytest.mark.parametrize("name", SMALL)
def test_a_gpu_plan_computes_what_the_model_computes(name: str) -> None:
    model = trained(build(name))
    given = images(model, 3)
    assert off(model, given, torch.float32) < FP32
    assert off(model, given, torch.bfloat16) < BF16
    assert off(model.double(), given.double(), torch.float64) < FLOAT64


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("changed", [{"num_classes": 0}, {"img_size": (12, 20)}], ids=["features", "not square"])
def test_features_and_other_shapes_are_planned_too(name: str, changed: dict[str, Any]) -> None:
    model = trained(build(name, **changed)).double()
    assert not isinstance(make_gpu_plan(model, CPU, torch.float64), ModulesOnGpu)
    assert off(model, images(model, 2).double(), torch.float64) < FLOAT64


@pytest.mark.parametrize("name", OWN)
def test_patches_of_resized_models_overlap_in_gpu_plans_too(name: str) -> None:
    model = resize(trained(build(name)), (16, 12)).double()
    assert model.hyperparameters["patch_margin"] == (2, 1)
    assert off(model, images(model, 2).double(), torch.float64) < FLOAT64


def test_the_tanh_form_of_gelu_stays_what_it_is() -> None:
    model = trained(build("mixer_b16", act="gelu_tanh")).double()
    assert off(model, images(model, 2).double(), torch.float64) < FLOAT64


def test_ablations_and_low_rank_run_as_they_are() -> None:
    for name, option in (
        ("resmlp_s12", {"token_mixing": "mlp"}),
        ("resmlp_s12", {"norm": "layernorm"}),
        ("resmlp_s12", {"token_rank": 2}),
        ("mixer_b16", {"token_rank": 2}),
    ):
        model = trained(build(name, **option)).double()
        assert isinstance(make_gpu_plan(model, CPU, torch.float64), ModulesOnGpu)
        assert off(model, images(model, 2).double(), torch.float64) < FLOAT64


@pytest.mark.parametrize("name", OWN)
def test_a_plan_leaves_the_model_and_the_images_alone(name: str) -> None:
    model = trained(build(name))
    before, given = {k: v.clone() for k, v in model.state_dict().items()}, images(model, 2)
    plan, untouched = make_gpu_plan(model, CPU, torch.bfloat16), given.clone()
    with torch.inference_mode():
        assert torch.equal(plan(given), plan(given))
    assert torch.equal(given, untouched)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def moved(module: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """What torch's `_apply` does, for tensors without numbers too, which torch's will not exchange."""
    for part in module.modules():
        for name, tensor in [(k, t) for k, t in part._parameters.items() if t is not None]:
            part._parameters[name] = nn.Parameter(change(tensor), requires_grad=False)
        for name, tensor in [(k, t) for k, t in part._buffers.items() if t is not None]:
            part._buffers[name] = change(tensor)
    return module


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", SMALL)
def test_all_that_a_plan_computes_with_is_on_its_gpu(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """By tensors that have a device and no numbers: an operation on two devices fails as it would there."""
    folded, gpu = fold(build(name)), torch.device("cuda", 0)
    monkeypatch.setattr(nn.Module, "_apply", moved)
    monkeypatch.setattr("allmlp.engine.gpu.find.fold", lambda model: model)
    with FakeTensorMode() as mode, torch.no_grad():
        plan = make_gpu_plan(moved(folded, mode.from_tensor), gpu, dtype, Kit())
        got = plan(torch.empty(2, folded.in_chans, *folded.img_size, device=gpu))
    assert (got.device, got.dtype, got.shape) == (gpu, torch.float32, (2, folded.num_classes))


def test_patches_are_cut_as_for_cpus_but_image_by_image() -> None:
    given = torch.randn(2, 3, 9, 8)
    for patch, margin in ((4, (0, 0)), (2, (1, 2))):
        rows = cut(given, patch, torch.float32, margin)  # b n (c p p)
        tokens_first = layout.cut(given, patch, torch.float32, margin).unflatten(0, (-1, 2))
        assert torch.equal(rows, tokens_first.transpose(0, 1))


def test_on_a_cpu_operations_are_torchs_own() -> None:
    assert kit_for(CPU) == Kit()
    assert Kit().mix is plain.mix


class Forms:
    """Forms of one operation, each with the seconds it pretends to take."""

    def __init__(self, **seconds: float) -> None:
        self.said, self.calls, self.asked = seconds, list[str](), ""
        self.timed = 0

    def form(self, name: str, factor: float = 1.0) -> Any:
        def run(x: Tensor, other: Tensor, *, power: int = 1) -> Tensor:
            self.calls.append(name)
            self.asked = name
            if name == "broken":
                raise RuntimeError("out of resource: shared memory")
            return x.add_(other).mul_(factor)  # which writes over what it is given

        return run

    def seconds(self, call: Any) -> float:
        call()
        self.timed += 1
        return self.said[self.asked]


Measure = Callable[[], dict[str, Any]]


def now(shapes: dict[str, Any], measure: Measure) -> dict[str, Any]:
    """Nothing was written down before."""
    return measure()


def test_the_quickest_form_that_computes_the_same_is_chosen_once_for_each_shape() -> None:
    forms = Forms(plain=3, slow=4, fast=1, wrong=0.1)
    others = [forms.form("slow"), forms.form("broken"), forms.form("wrong", 1.01), forms.form("fast")]
    add = Quickest(forms.form("plain"), others, forms.seconds, now)
    x, one = torch.ones(2, 3), torch.ones(3)
    assert torch.equal(add(x, one), torch.full((2, 3), 2.0))
    assert torch.equal(x, torch.full((2, 3), 2.0))  # written over once: the trials had copies
    assert forms.calls[-1] == "fast"
    assert forms.timed == 3 * ROUNDS
    add(torch.ones(2, 3), one)
    assert forms.timed == 3 * ROUNDS
    add(torch.ones(4, 3), one)
    add(torch.ones(4, 3), one, power=2)
    assert forms.timed == 9 * ROUNDS


def test_what_was_written_down_is_taken_without_a_clock_where_it_is_right() -> None:
    x, one = torch.ones(2, 3), torch.ones(3)
    for number, taken in ((2, "fast"), (1, "plain"), (0, "plain"), (7, "plain"), ("fast", "plain")):
        forms = Forms()  # none has a time
        add = Quickest(
            forms.form("plain"),
            [forms.form("wrong", 2.0), forms.form("fast")],
            forms.seconds,
            lambda *_, n=number: {"chosen": n},
        )
        add(x.clone(), one)
        assert forms.calls[-1] == taken


def test_where_nothing_can_be_written_down_torchs_form_is_taken() -> None:
    forms = Forms(plain=3, fast=1)
    add = Quickest(forms.form("plain"), [forms.form("fast")], forms.seconds, lambda shapes, measure: None)
    add(torch.ones(2, 3), torch.ones(3))
    assert (forms.calls, forms.timed) == (["plain"], 0)


def test_a_clock_that_is_slow_every_second_time_changes_no_choice() -> None:
    """As on a machine where something else runs by turns."""
    forms, turns = Forms(plain=3, fast=2), count()
    add = Quickest(
        forms.form("plain"), [forms.form("fast")], lambda call: forms.seconds(call) * (6 if next(turns) % 2 else 1), now
    )
    add(torch.ones(2, 3), torch.ones(3))
    assert forms.calls[-1] == "fast"


def test_answers_that_are_not_numbers_are_never_near() -> None:
    forms = Forms(plain=3, odd=0.1)
    add = Quickest(forms.form("plain"), [forms.form("odd", float("nan"))], forms.seconds, now)
    assert torch.equal(add(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))


def test_one_image_alone_has_a_graph_of_its_own_and_the_rest_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Recorded:
        """Takes the number of images it was made for, and no other, as a graph does."""

        def __init__(self, run: Runner, given: Tensor) -> None:
            self.run, self.shape = run, given.shape

        def __call__(self, given: Tensor) -> Tensor:
            assert given.shape == self.shape
            seen.append(len(given))
            return self.run(given)

    monkeypatch.setattr(cuda, "Graphed", Recorded)
    model = trained(build("resmlp_s12"))
    plan = make_gpu_plan(model, CPU, torch.float32)
    run = cuda.graphed(plan, model, Wanted(precision="fp32", batch=3, threads=1))
    with torch.inference_mode():
        for count, calls in ((1, [1]), (2, [3]), (3, [3]), (7, [3, 3, 3])):
            given = images(model, count)
            assert torch.allclose(run(given), model(given), rtol=0, atol=1e-4)
            assert seen == calls
            seen.clear()


@pytest.mark.parametrize("before", ["highest", "high", "medium"])
def test_tf32_is_off_inside_and_as_it_was_outside(before: str) -> None:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(before)
        found = products.allow_tf32, convolutions.allow_tf32
        with exact_products(torch.device("cuda")):
            assert (products.allow_tf32, convolutions.allow_tf32) == (False, False)
        assert (products.allow_tf32, convolutions.allow_tf32) == found
        assert torch.get_float32_matmul_precision() == before
    finally:
        torch.set_float32_matmul_precision(kept)


def test_tf32_stays_off_until_the_last_of_several_threads_has_left() -> None:
    gpu, kept = torch.device("cuda"), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        first, second = exact_products(gpu), exact_products(gpu)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert torch.get_float32_matmul_precision() == "highest"
        second.__exit__(None, None, None)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(kept)


def test_the_plain_operations_are_what_they_say() -> None:
    x, matrix, bias = torch.randn(2, 5, 4).double(), torch.randn(3, 5).double(), torch.randn(3, 4).double()
    stats = plain.stats(x, 1e-6)
    normed = F.layer_norm(x, (4,), eps=1e-6)
    mixed = torch.stack([matrix @ image for image in normed]) + bias
    assert torch.allclose(plain.mix(x, matrix, bias=bias, stats=stats), mixed)
    assert torch.allclose(plain.norm(x, x[0, 0], 1e-6), F.layer_norm(x - x[0, 0], (4,), eps=1e-6))


def test_cublas_is_asked_for_the_tanh_form_alone() -> None:
    x, weight, bias = torch.randn(2, 3, 4), torch.randn(5, 4), torch.randn(5)
    assert cublas_gelu(x, weight, bias, approximate="tanh").shape == (2, 3, 5)
    with pytest.raises(ValueError, match="none"):
        cublas_gelu(x, weight, bias, approximate="none")
