"""The scaling benchmark: its arithmetic by hand, and one small measurement."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from allmlp.run import read_json
from helpers import benchmark

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "scaling.py"


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    return benchmark("scaling")


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
def test_two_processes_are_measured_beside_their_prediction(tmp_path: Path) -> None:
    """As from a terminal: the processes that it starts import the script again."""
    file = tmp_path / "scaling.json"
    measured = [sys.executable, str(SCRIPT), "--img-size", "32", "--batch", "4", "--rounds", "2", "--json", str(file)]
    subprocess.run(measured, check=True, capture_output=True, timeout=1800)
    found = read_json(file)
    assert found["measured_two"] > 0
    assert [row["processes"] for row in found["predicted"]] == [2, 4, 8, 16, 32, 64]
    again = [sys.executable, str(SCRIPT), "--from", str(file), "--bandwidth", "40e9", "--processes", "8"]
    assert "8 processes" in subprocess.run(again, check=True, capture_output=True, text=True).stdout
