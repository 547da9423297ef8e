"""Engines on GPUs. Without one: what is refused, and how that is said; with one: that they are the model."""

# axes: b images, c channels, h w pixels

from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.build import answers
from allmlp.engine.choice import Request, candidates, precision_of, request_record
from allmlp.engine.kept import content_hash
from allmlp.engine.use import ENOUGH_ON_CUDA, engine_for
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from contract import SMALL, awake, build, images

CPU, GPU = torch.device("cpu"), torch.device("cuda")
OFF = {"fp32": 1e-4, "bf16": 0.05}
FOR_GPUS = [name for name, backend in BACKENDS.items() if "cuda" in backend.devices]

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
needs_none = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))


@pytest.fixture
def model() -> ImageModel:
    return awake(build("resmlp_s12")).eval()


def off(engine: Any, model: ImageModel, given: Tensor) -> float:  # b c h w
    with torch.inference_mode():
        due = model(given.to(next(model.parameters()).device)).cpu()
        return float((engine(given).cpu() - due).norm() / due.norm())


@needs_none
def test_where_there_is_no_gpu_that_is_said_with_what_to_do(model: ImageModel) -> None:
    for device in ("cuda", "cuda:1", GPU):
        with pytest.raises(EngineError, match=r'no CUDA device, or this torch cannot use it(.|\n)*give device="cpu"'):
            allmlp.compile(model, device=device)


def test_devices_that_engines_are_not_for_are_refused(model: ImageModel) -> None:
    for device in ("gpu", "meta", "mps", ""):
        with pytest.raises(EngineError, match=r"engines are for cpu and cuda"):
            allmlp.compile(model, device=device)


def test_an_engine_for_the_other_kind_of_device_is_refused_by_name(model: ImageModel) -> None:
    with pytest.raises(
        EngineError, match=r'engine cuda is for GPUs, and answers come from cpu(.|\n)*there is a GPU, device="cuda"'
    ):
        allmlp.compile(model, backend="cuda")
    for name in ("torch", "openvino", "onnxruntime"):
        why = BACKENDS[name].refusal("fp32", torch.device("cuda", 0))
        assert isinstance(why, EngineError)
        assert why.what == f"engine {name} is for CPUs, and answers come from cuda:0 here"
        assert why.hint == 'use engine "cuda", or "eager"'


def test_int8_is_for_cpus(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    with pytest.raises(EngineError, match=r'int8 is for CPUs, and answers come from cuda:0 here(.|\n)*device="cpu"'):
        allmlp.compile(model, device="cuda", precision="int8")
    with pytest.raises(EngineError, match=r"device is 'cuda:3', and CUDA devices here: 1(.|\n)*count from 0 to 0"):
        allmlp.compile(model, device="cuda:3")


def test_only_what_runs_on_a_gpu_is_tried_there(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    for able in (True, False):
        monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda able=able, **_: able)
        auto = Request(precision="auto", backend="auto", batch=2, threads=1, device=GPU)
        assert precision_of(auto, model) == ("bf16" if able else "fp32")
        assert precision_of(replace(auto, precision="fp32"), model) == "fp32"
        assert candidates(auto, precision_of(auto, model)) == ["cuda", "eager"]


def test_compiling_for_a_gpu_asks_for_triton_not_for_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.engine.backends.inductor.has_compiler", lambda: False)
    monkeypatch.setattr("allmlp.engine.backends.inductor.has_triton", lambda: True)
    assert BACKENDS["compile"].refusal("bf16", GPU) is None
    monkeypatch.setattr("allmlp.engine.backends.inductor.has_triton", lambda: False)
    why = BACKENDS["compile"].refusal("bf16", GPU)
    assert why is not None
    assert 'use engine "cuda"' in why.hint


def test_engines_are_kept_by_the_name_of_the_gpu(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    record = request_record(Request(precision="fp32", backend="auto", batch=2, threads=1, device=GPU))
    assert "device" not in record
    keys = [content_hash(model, record, CPU)]
    for name in ("one GPU", "another GPU"):
        monkeypatch.setattr("torch.cuda.get_device_name", lambda device, name=name: name)
        keys.append(content_hash(model, record, GPU))
    assert len(set(keys)) == 3


def test_on_a_gpu_the_graph_for_one_image_is_compared_with_the_model_too() -> None:
    seen = []

    def run(given: Tensor) -> Tensor:
        seen.append(len(given))
        return given.flatten(1).sum(1, keepdim=True)

    assert answers(run, torch.empty(8, 3, 2, 2, device="meta"), 4).shape == (8, 1)
    assert seen == [1, 4, 3]
    seen.clear()
    answers(run, torch.ones(8, 3, 2, 2), 4)
    assert seen == [4, 4]


@needs_none
def test_where_a_gpu_will_have_no_engine_the_model_answers_with_a_warning(model: ImageModel) -> None:
    words: dict[str, Any] = dict(batch=8, device=GPU, precision="bf16")
    with pytest.warns(UserWarning, match="no engine could be built for cuda, the model answers as it is: there is no CUDA"):
        assert engine_for(model, "auto", images=ENOUGH_ON_CUDA, **words) is None
    assert engine_for(model, "auto", images=ENOUGH_ON_CUDA - 1, **words) is None
    with pytest.raises(EngineError, match="no CUDA device"):
        engine_for(model, "cuda", images=1, **words)


def test_an_engine_says_where_it_answers_and_takes_images_of_any_number_type(model: ImageModel) -> None:
    engine = allmlp.compile(model, backend="eager", precision="fp32", device="cpu", keep=False)
    assert engine.device == CPU
    assert off(engine, model, images(model).double().float()) < OFF["fp32"]
    assert engine(images(model, 0).double()).shape == (0, model.num_classes)


@needs_gpu
@pytest.mark.parametrize("precision", OFF)
@pytest.mark.parametrize("name", [name for name in FOR_GPUS if BACKENDS[name].seconds_to_build])
def test_on_a_gpu_an_engine_answers_as_its_model_does_for_any_number_of_images(
    model: ImageModel, name: str, precision: str
) -> None:
    engine = allmlp.compile(model, backend=name, precision=precision, batch=4, device="cuda", keep=False)
    assert (engine.backend, engine.precision, engine.device.type) == (name, precision, "cuda")
    for count in (1, 4, 5, 11):
        given = images(model, count)
        assert off(engine, model, given) < OFF[precision]  # images on the CPU
        assert off(engine, model, given.cuda()) < OFF[precision]
        assert torch.equal(engine(given), engine(given.cuda()))
    answer = engine(images(model, 0))
    assert (answer.shape, answer.device.type, answer.dtype) == ((0, model.num_classes), "cuda", torch.float32)


@needs_gpu
@pytest.mark.parametrize("precision", OFF)
@pytest.mark.parametrize("name", SMALL)
def test_on_a_gpu_every_family_has_an_engine(name: str, precision: str) -> None:
    model = awake(build(name)).eval()
    engine = allmlp.compile(model, backend="cuda", precision=precision, batch=3, device="cuda", keep=False)
    assert off(engine, model, images(model, 5)) < OFF[precision]


@needs_gpu
@pytest.mark.slow
@pytest.mark.parametrize("precision", OFF)
def test_on_a_gpu_torch_compile_answers_as_its_model_does(model: ImageModel, precision: str) -> None:
    engine = allmlp.compile(model, backend="compile", precision=precision, batch=2, device="cuda", keep=False)
    for count in (1, 2, 5):
        assert off(engine, model, images(model, count)) < OFF[precision]


@needs_gpu
def test_on_a_gpu_auto_follows_the_model_and_is_remembered(model: ImageModel) -> None:
    first, second = (allmlp.compile(model.cuda(), batch=2) for _ in range(2))
    assert (first.device.type, first.from_disk, second.from_disk) == ("cuda", False, True)
    assert (first.backend, first.seconds_per_image) == ("cuda", {})
    assert (second.backend, second.precision) == (first.backend, first.precision)
    assert off(second, model, images(model)) < OFF[second.precision]


@needs_gpu
def test_on_a_gpu_tf32_does_not_reach_float32_engines(model: ImageModel) -> None:
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        for name in ("cuda", "eager"):
            engine = allmlp.compile(model, backend=name, precision="fp32", device="cuda", keep=False)
            assert off(engine, model.cpu(), images(model)) < 1e-5
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(kept)


@needs_gpu
def test_on_a_gpu_answers_stay_apart_when_threads_ask_at_once(model: ImageModel) -> None:
    engine = allmlp.compile(model, backend="cuda", precision="fp32", batch=4, device="cuda", keep=False)
    given = [images(model, 4, seed=seed) for seed in range(4)]
    due, wrong = [engine(part).cpu() for part in given], []

    def ask(number: int) -> None:
        with torch.cuda.stream(torch.cuda.Stream()):
            for _ in range(50):
                if not torch.equal(engine(given[number]).cpu(), due[number]):
                    wrong.append(number)

    threads = [Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
