"""What a processor can do decides precision and matmuls: the same every time, whatever the clock says."""

import itertools
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import allmlp
from allmlp.engine import abilities as module
from allmlp.engine.abilities import Abilities, abilities
from allmlp.engine.device import choose_precision
from allmlp.recipe import Train
from allmlp.training.products import chosen_precision, chosen_products
from helpers import ZEN4, pretend, same_weights

CPU = torch.device("cpu")


def can(**what: Any) -> Abilities:
    return Abilities(**{"architecture": "x86_64", **what})


@pytest.mark.parametrize(
    ("what", "bf16", "onednn"),
    [
        (ZEN4, True, True),
        ({"vendor": "AMD", "mkl": True}, False, False),  # AVX2 alone: MKL is faster than oneDNN
        ({"vendor": "AMD", "avx512": True, "mkl": True}, False, True),
        ({"vendor": "AMD", "avx512": True, "mkl": False}, False, False),
        ({"vendor": "Intel", "avx512": True, "avx512_bf16": True, "mkl": True}, False, False),  # half as fast as float32
        ({"vendor": "Intel", "avx512": True, "avx512_bf16": True, "amx": True, "mkl": True}, True, False),
        ({"architecture": "aarch64"}, False, False),
        (ZEN4 | {"limit": "AVX2"}, False, False),
        (ZEN4 | {"limit": "AVX512_CORE"}, False, True),
        (ZEN4 | {"limit": "AVX512_CORE_BF16"}, True, True),
        (ZEN4 | {"limit": "ALL"}, True, True),
        ({"vendor": "Intel", "avx512": True, "amx": True, "mkl": True, "limit": "AVX512_CORE_BF16"}, False, False),
        ({"vendor": "Intel", "avx512": True, "amx": True, "mkl": True, "limit": "AVX512_CORE_AMX"}, True, False),
        ({"vendor": "Intel", "avx512": True, "amx": True, "mkl": True, "limit": "AVX10_1_512_AMX_FP16"}, True, False),
    ],
)
def test_what_is_fast_follows_from_the_processor(what: dict[str, Any], bf16: bool, onednn: bool) -> None:
    assert (can(**what).fast_bf16, can(**what).fast_onednn) == (bf16, onednn)


def test_abilities_are_told_in_a_line() -> None:
    assert str(can(**ZEN4, limit="AVX2")) == "x86_64, AMD, avx512, avx512_bf16, mkl, oneDNN limited to AVX2"


@pytest.mark.parametrize(("name", "value"), [("ONEDNN_MAX_CPU_ISA", "sse41"), ("DNNL_MAX_CPU_ISA", "AVX2")])
def test_a_limit_of_onednn_is_read_from_either_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in module.LIMITS:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    abilities.cache_clear()
    try:
        assert abilities().limit == value.upper()
        assert not abilities().fast_bf16
    finally:
        abilities.cache_clear()


def test_this_processors_flags_are_those_the_system_tells() -> None:
    try:
        flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")).split()
    except (OSError, StopIteration):
        pytest.skip("no /proc/cpuinfo of an x86 processor")
    assert abilities().avx512 == ("avx512f" in flags)
    assert abilities().avx512_bf16 == ("avx512_bf16" in flags)
    assert abilities().amx <= ("amx_bf16" in flags)


def test_an_older_torch_tells_by_its_private_names(monkeypatch: pytest.MonkeyPatch) -> None:
    older = SimpleNamespace(_is_avx512_supported=lambda: True, _is_amx_tile_supported=lambda: False)
    monkeypatch.setattr(torch, "cpu", older)
    assert module._flags() == {"avx512_f": True, "amx_bf16": False}


@pytest.mark.parametrize(
    ("width", "train", "steps", "answers"),
    [
        (64, {}, "fp32", "fp32"),
        (96, {}, "bf16", "fp32"),
        (256, {}, "bf16", "bf16"),
        (256, {"precision": "fp32"}, "fp32", "bf16"),
        (256, {"products": "onednn"}, "fp32", "bf16"),
    ],
)
def test_wide_models_take_bf16_where_it_is_fast(
    width: int, train: dict[str, Any], steps: str, answers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, **ZEN4)
    model = allmlp.create_model("resmlp_xs", dim=width, depth=1)
    assert chosen_precision(Train(**train), CPU, model) == steps
    assert choose_precision("auto", CPU, model) == answers
    pretend(monkeypatch, vendor="Intel")
    assert chosen_precision(Train(**train), CPU, model) == choose_precision("auto", CPU, model) == "fp32"


def test_auto_takes_onednn_where_it_is_fast_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.training.products.trouble", lambda: "")
    pretend(monkeypatch, vendor="Intel", avx512=True, mkl=True)
    assert chosen_products(Train(), CPU, "fp32") == "torch"
    pretend(monkeypatch, **ZEN4)
    assert chosen_products(Train(), CPU, "fp32") == "onednn"
    assert chosen_products(Train(), CPU, "bf16") == "torch"
    assert chosen_products(Train(), torch.device("cuda"), "fp32") == "torch"
    assert chosen_products(Train(compile=True), CPU, "fp32") == "torch"
    assert chosen_products(Train(products="torch"), CPU, "fp32") == "torch"


@pytest.mark.slow
def test_a_clock_that_runs_six_times_as_slow_by_turns_changes_no_bit(
    stripes: Path, tmp_path: Path, small_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a training with a teacher, its evaluation and its predictions, each with empty caches."""
    runs, results, rows = [], [], []
    for patched in (False, True):
        with monkeypatch.context() as patch:
            patch.setenv("ALLMLP_HOME", str(tmp_path / f"home-{patched}"))
            if patched:
                uneven_clocks(patch)
            teacher = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / f"teacher-{patched}", quiet=True)
            recipe = small_recipe(train={"precision": "auto"}, distill={"teacher": str(teacher.folder)})
            run = allmlp.train(stripes, recipe=recipe, out=tmp_path / f"run-{patched}", quiet=True)
            patch.setattr("allmlp.engine.use.ENOUGH", 8)  # images from which on "auto" builds an engine
            runs.append(run)
            results.append(allmlp.evaluate(run, stripes, quiet=True))
            rows.append(list(allmlp.predict(allmlp.load(run), [stripes])))
    assert same_weights(*runs)
    assert rows[0] == rows[1]
    assert len(rows[0]) == 48
    for name in ("loss", "top1", "calibration_error", "engine"):
        assert results[0][name] == results[1][name]


def uneven_clocks(patch: pytest.MonkeyPatch) -> None:
    """Every second interval between two looks at a clock seems six times as long."""
    for name in ("perf_counter", "monotonic", "process_time", "thread_time", "time"):
        real = getattr(time, name)
        state = {"real": real(), "shown": real()}
        turns = itertools.count()

        def look(real: Any = real, state: dict[str, float] = state, turns: Any = turns) -> float:
            now = real()
            state["shown"] += (now - state["real"]) * (6 if next(turns) % 2 else 1)
            state["real"] = now
            return state["shown"]

        patch.setattr(time, name, look)


@pytest.mark.slow
@pytest.mark.parametrize("limits", [{"ONEDNN_MAX_CPU_ISA": "SSE41"}, {"ATEN_CPU_CAPABILITY": "default"}])
def test_on_an_older_processor_a_training_repeats_itself_too(
    limits: dict[str, str], stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setenv(name, value)
    files = []
    for out in (tmp_path / "a", tmp_path / "b"):
        words = [
            "train",
            str(stripes),
            "--model",
            "resmlp_xs",
            "--img-size",
            "16",
            "--train.epochs",
            "1",
            "--out",
            str(out),
            "--quiet",
        ]
        subprocess.run([sys.executable, "-m", "allmlp", *words], check=True, capture_output=True)
        files.append((out / "last.safetensors").read_bytes())
    assert files[0] == files[1]
