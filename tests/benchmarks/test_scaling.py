"""The scaling benchmark: its arithmetic by hand, and one small measurement."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from allmlp.run import read_json


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location("scaling", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["scaling"] = module
    spec.loader.exec_module(module)
    return module


def test_traffic_that_fits_behind_the_backward_pass_costs_nothing(scaling: ModuleType) -> None:
    step = scaling.Step(forward=1.0, backward=2.0, update=0.5)
    fast = scaling.predict(step, 1000, 10, 4, 0.0, 1000.0)  # 2 · 3/4 · 1000 / 1000 = 1.5 s
    assert (fast["all_reduce"], fast["step"], fast["efficiency"]) == (1.5, 3.5, 1.0)
    assert fast["images_per_s"] == pytest.approx(40 / 3.5)
    slow = scaling.predict(step, 1000, 10, 4, 0.25, 1000.0)  # and 2 · 3 · 0.25 s of latency
    assert (slow["all_reduce"], slow["step"]) == (3.0, 4.5)


def test_latency_and_bandwidth_come_back_from_what_they_cost(scaling: ModuleType) -> None:
    times = [(size, 2 * 1e-4 + size / 1e9) for size in scaling.SIZES]
    assert scaling.fitted(times) == pytest.approx((1e-4, 1e9))


@pytest.mark.slow
def test_two_processes_are_measured_beside_their_prediction(
    scaling: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scaling.json"
    assert scaling.main(["--img-size", "32", "--batch", "4", "--rounds", "2", "--json", str(file)]) == 0
    found = read_json(file)
    assert found["measured_two"] > 0
    assert [row["processes"] for row in found["predicted"]] == [2, 4, 8, 16, 32, 64]
    assert scaling.main(["--from", str(file), "--bandwidth", "40e9", "--processes", "8"]) == 0
    assert "8 processes" in capsys.readouterr().out
