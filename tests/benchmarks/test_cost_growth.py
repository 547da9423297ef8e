"""The growth benchmark: its words by hand, and one small measurement."""

from pathlib import Path
from types import ModuleType

import pytest

from allmlp.run import read_json
from helpers import benchmark

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "growth.py"


@pytest.fixture(scope="module")
def growth() -> ModuleType:
    return benchmark("growth")


def test_a_row_says_median_spread_how_many_times_as_fast_and_what_was_held(growth: ModuleType) -> None:
    seconds = {"eager fp32": [0.2, 0.2, 0.4], "allmlp fp32": [0.09, 0.1, 0.11], "allmlp bf16": [0.05, 0.05, 0.05]}
    held = {"eager fp32": 3 * 2**20, "allmlp fp32": 2**20, "allmlp bf16": 2**19}
    point = growth.Point("m", "batch", 4, 2_500_000_000, seconds, held)
    assert "| m | 4 | 2.50 | 200.0 ± 50.0 (1.00) | 100.0 ± 5.0 (2.00) | 50.0 ± 0.0 (4.00) | 3 | 1 | 0 |" in growth.table(
        [point], "batch"
    )
    assert "allmlp fp32 100.0 ± 5.0 ms (2.00 ×, 1 MiB)" in growth.said(point)


def test_a_deeper_network_has_the_blocks_that_were_asked_for(growth: ModuleType) -> None:
    assert len(growth.Setting("resmlp_s12", side=32, depth=3).made().blocks) == 3
    sparse = growth.Setting("smlpnet_t", side=64, depth=13).made()
    assert [len(stage.blocks) for stage in sparse.stages] == [1, 4, 7, 1]


@pytest.mark.slow
def test_it_measures_time_and_memory_writes_draws_and_reads_again(
    growth: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPT.parent))  # for the processes whose memory is measured
    monkeypatch.setattr(growth, "QUICK", {"batch": (1,), "side": (32,)})
    monkeypatch.setattr(growth, "BATCH", 1)
    found, page = tmp_path / "found.json", tmp_path / "page.md"
    words = ["--models", "resmlp_xs", "--axes", "batch", "side", "--quick", "--rounds", "1", "--json", str(found)]
    assert growth.main([*words, "--page", str(page)]) == 0
    first = capsys.readouterr().out
    points = read_json(found)["points"]
    assert [(point["axis"], point["value"]) for point in points] == [("batch", 1), ("side", 32)]
    assert all(size > 0 for size in points[0]["memory"].values())
    assert page.with_suffix(".svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    assert growth.main(["--from", str(found)]) == 0
    assert capsys.readouterr().out == first
