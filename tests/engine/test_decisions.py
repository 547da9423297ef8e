"""What is measured once is measured by one process, written down, and never measured again."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import allmlp
from allmlp.cli import main
from allmlp.engine import build, choice
from allmlp.engine.backends.eager import Eager
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.calibrate import seconds_per_image
from allmlp.engine.choice import AHEAD, preferred
from allmlp.engine.decisions import decided, folder, kept_decisions
from contract import awake
from contract import build as built
from helpers import pretend


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def never() -> dict[str, Any]:
    raise AssertionError("measured again")


def test_a_question_is_answered_once() -> None:
    first = decided({"what": 1}, lambda: {"chosen": "a", "seconds": {"a": 1.0}})
    assert decided({"what": 1}, never) == first == {"chosen": "a", "seconds": {"a": 1.0}}
    assert decided({"what": 2}, lambda: {"chosen": "b"}) == {"chosen": "b"}
    assert sorted(each["question"]["what"] for each in kept_decisions()) == [1, 2]
    assert all(each["measured"] for each in kept_decisions())


@pytest.mark.parametrize("content", ["{", "[]", '{"decision": 3}', '{"decision": {}}', ""])
def test_a_damaged_answer_is_measured_anew(content: str, home: Path) -> None:
    decided({"what": 1}, lambda: {"chosen": "a"})
    (path,) = (home / "decisions").glob("*.json")
    path.write_text(content)
    assert kept_decisions() == []
    assert decided({"what": 1}, lambda: {"chosen": "b"}) == {"chosen": "b"}
    assert decided({"what": 1}, never) == {"chosen": "b"}


def test_where_nothing_can_be_written_nothing_is_measured(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write_text("a file where the folder should be")
    assert decided({"what": 1}, never) is None
    assert kept_decisions() == []
    home.unlink()
    monkeypatch.delenv("ALLMLP_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "~nobody-of-this-name/cache")
    assert folder() is None
    assert decided({"what": 1}, never) is None


@pytest.mark.slow
def test_processes_that_ask_at_once_get_one_answer(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from allmlp.engine.decisions import decided\n"
        "def measure():\n"
        "    open(sys.argv[1], 'a').write('x')\n"
        "    return {'chosen': os.getpid()}\n"
        "print(decided({'what': 1}, measure)['chosen'])\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "measured")]
    asking = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate()[0].strip() for process in asking}
    assert len(answers) == 1
    assert (tmp_path / "measured").read_text() == "x"


def test_another_backend_must_be_clearly_faster_than_the_usual_one() -> None:
    assert preferred({"torch": 1.0, "openvino": 1.0 / AHEAD + 0.01, "eager": 0.95}) == "torch"
    assert preferred({"torch": 1.0, "openvino": 1.0 / AHEAD - 0.01, "onnxruntime": 2.0}) == "openvino"
    assert preferred({"eager": 1.0}) == "eager"


@pytest.mark.parametrize(
    ("what", "usual"), [({"avx512": True}, "torch"), ({}, "eager"), ({"avx512": True, "limit": "AVX2"}, "eager")]
)
def test_the_usual_backend_follows_from_the_processor(
    what: Mapping[str, Any], usual: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, **what)
    monkeypatch.setattr(BACKENDS["torch"], "refusal", lambda *_: None)
    request = choice.Request(precision="fp32", backend="auto", batch=2, threads=1)
    found = [name for name in choice.candidates(request, "fp32") if name in choice.USUAL]
    assert (found[0], sorted(found)) == (usual, ["eager", "torch"])


class Extra(Eager):
    """A backend that an extra brings."""

    name = "extra"
    devices = ("cpu",)


def test_extras_are_measured_once_for_a_model_and_other_weights_get_the_same_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "extra", Extra())
    for other in ("openvino", "onnxruntime"):
        monkeypatch.delitem(BACKENDS, other)
    asked = []

    def pretended(runs: Mapping[str, Any], *_: Any, **__: Any) -> dict[str, float]:
        asked.append(list(runs))
        return {name: 0.1 if name == "extra" else 1.0 for name in runs}

    monkeypatch.setattr(build, "seconds_per_image", pretended)
    first = allmlp.compile(awake(built("resmlp_s12")).eval(), precision="fp32", batch=2)
    assert (first.backend, len(asked), first.seconds_per_image["extra fp32"]) == ("extra", 1, 0.1)
    torch.manual_seed(5)
    second = allmlp.compile(built("resmlp_s12").eval(), precision="fp32", batch=2)
    assert (second.backend, len(asked), second.from_disk) == ("extra", 1, False)
    assert allmlp.compile(built("resmlp_s12").eval(), precision="fp32", batch=2, keep=False).backend in choice.USUAL
    assert len(asked) == 1
    allmlp.compile(built("resmlp_s12").eval(), precision="fp32", batch=3)
    assert len(asked) == 2


def test_what_comes_with_torch_is_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("openvino", "onnxruntime"):
        monkeypatch.delitem(BACKENDS, other)

    def measured(*_: Any, **__: Any) -> dict[str, float]:
        raise AssertionError("measured")

    monkeypatch.setattr(build, "seconds_per_image", measured)
    engine = allmlp.compile(awake(built("resmlp_s12")).eval(), batch=2)
    assert engine.backend in choice.USUAL
    assert engine.seconds_per_image == {}
    assert kept_decisions() == []


def test_a_clock_that_is_slow_every_second_time_hides_nobodys_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that take one second and one that takes two, by a clock six times as slow for every second interval."""
    now, intervals = 0.0, 0

    def clock() -> float:
        return now

    def takes(seconds: float) -> Any:
        def run(given: torch.Tensor) -> torch.Tensor:
            nonlocal now, intervals
            intervals += 1
            now += seconds * (6 if intervals % 2 else 1)
            return given

        return run

    monkeypatch.setattr("allmlp.engine.calibrate.time.process_time", clock)
    monkeypatch.setattr("allmlp.engine.calibrate.time.perf_counter", lambda: 0.0)
    runs = {"a": takes(1.0), "b": takes(1.0), "slow": takes(2.0)}
    assert seconds_per_image(runs, torch.ones(1, 3), 1, threads=1) == {"a": 1.0, "b": 1.0, "slow": 2.0}


def test_info_shows_what_was_decided_and_no_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    decided({"fastest engine of": "resmlp_s12"}, lambda: {"chosen": "openvino"})
    monkeypatch.setenv("ALLMLP_KEY", "swordfish")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    pretend(monkeypatch, vendor="AMD", avx512=True, avx512_bf16=True, mkl=True)
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "resmlp_s12" in shown
    assert "openvino" in shown
    assert "bf16 for models of 96 channels or more" in shown
    assert main(["info", "--json"]) == 0
    text = capsys.readouterr().out
    found = json.loads(text)
    assert "swordfish" not in shown + text
    assert found["settings"]["OMP_NUM_THREADS"] == "3"
    assert found["versions"]["torch"] == torch.__version__.split("+")[0]
    assert found["measured"][0]["decision"] == {"chosen": "openvino"}
