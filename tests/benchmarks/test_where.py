"""Where an engine's time goes: every multiply-add is found, and the page says what was measured."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

import allmlp
from allmlp.engine.cost import multiply_adds
from allmlp.engine.plans.products import broken
from helpers import benchmark

here = pytest.mark.skipif(bool(broken(torch.float32)), reason="this torch has no oneDNN products")


@pytest.fixture(scope="module")
def where() -> ModuleType:
    return benchmark("where")


@here
@pytest.mark.parametrize("name", ["resmlp_xs", "smlpnet_xs"])
def test_all_multiply_adds_of_the_model_are_found(name: str, where: ModuleType) -> None:
    cell = where.measured(name, 2, "fp32", 1)
    assert sum(kind.macs for kind in cell.kinds) == multiply_adds(allmlp.create_model(name))
    assert sum(kind.seconds for kind in cell.kinds) > 0
    assert len(cell.rounds) == len(cell.limit) == 1


@here
def test_a_family_without_a_plan_is_refused_rather_than_counted_wrongly(where: ModuleType) -> None:
    with pytest.raises(SystemExit, match="choose a variant of resmlp_s12"):
        where.measured("asmlp_t", 1, "fp32", 1)


def test_rates_and_what_would_be_left_are_right_by_hand(where: ModuleType) -> None:
    """4 ms of products at half of the limit's 2 GFLOP/s, which are 1 giga multiply-add a second, and 1 ms of other things."""
    kinds = [where.Kind("product 2 × 3 → 4", 0.004, 2_000_000), where.Kind("copies", 0.0005), where.Kind("rest", 0.0005)]
    cell = where.Cell("m", 1, "fp32", kinds, [0.0048], [1e9, 1e9])
    shown = where.table(cell)
    assert "| product 2 × 3 → 4 | 4.00 | 80% | 1 | 50% |" in shown
    assert "| copies | 0.50 | 10% |  |  |" in shown
    assert "4.8 ms an image, not timed one by one. Products: 80% of the time at 50% of the limit's rate (2 GFLOP/s)" in shown
    assert shown.endswith("with nothing else, 2.0 ms.")


@here
def test_it_measures_writes_and_reads_again(where: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, page = tmp_path / "build" / "where.json", tmp_path / "docs" / "where.md"
    words = ["--models", "resmlp_xs", "--batches", "1", "--precisions", "fp32", "--rounds", "1", "--json", str(found)]
    assert where.main(words) == 0
    first = capsys.readouterr().out.strip()
    assert "| product 64 × 96 → 384 |" in first
    assert where.main(["--from", str(found), "--page", str(page), "--machine", "a test"]) == 0
    assert capsys.readouterr().out.strip() == first
    assert first in page.read_text()
