"""The page about Table 1, from made-up measurements."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from allmlp.profiling.published import _records
from allmlp.profiling.rows import Profile, Row
from allmlp.run import write_json
from helpers import benchmark

ABOUT = {"threads": 2, "device": "cpu", "precision": "fp32", "batch": 32, "rounds": 3, "torch": "2", "timm": "1"}


@pytest.fixture(scope="module")
def table1() -> ModuleType:
    return benchmark("table1")


def row(name: str, images_per_s: float, *, mib: float = 100, jitter: float = 0.0) -> Row:
    seconds = 32 / images_per_s
    return Row(
        name=name,
        kind="timm",
        folded=False,
        batch=32,
        img_size=(224, 224),
        parameters=10**7,
        macs=10**9,
        activations=10**7,
        peak_bytes=int(mib * 2**20),
        batch_seconds=[seconds * (1 - jitter), seconds, seconds * (1 + jitter)],
        single_seconds=[0.1],
        published=_records()[name],
    )


def made_up() -> list[Row]:
    """On the V100: ResMLP-S12 1415, DeiT-S 940, RegNetY-4GF 861, ResMLP-S24 715 images/s; here the middle two are swapped."""
    return [
        row("resmlp_s24", 20, mib=235.3),
        row("resmlp_s12", 40, mib=179.5),
        row("deit_small_patch16_224", 29, mib=2 * 217.2),
        row("regnety_040", 30, mib=568.4),
    ]


def test_rank_correlations_by_hand(table1: ModuleType) -> None:
    assert table1.kendall([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(1)
    assert table1.kendall([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx((5 - 1) / 6)
    assert table1.spearman([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert table1.spearman([10, 20, 30], [9, 5, 1]) == pytest.approx(-1)


def test_ties_share_ranks_and_are_no_pair(table1: ModuleType) -> None:
    assert table1.ranks([5, 1, 5, 9]) == [2.5, 1, 2.5, 4]
    assert table1.kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / (2 * 3) ** 0.5)


def test_pairs_that_change_places_are_named_with_both_speeds(table1: ModuleType) -> None:
    text = table1.order(made_up())
    assert "Of 4 models, 6 pairs: Kendall's τ 0.67, Spearman's ρ 0.80" in text
    assert "- DeiT-S before RegNetY-4GF on the V100 (940 and 861 images/s), after it here (29 and 30)\n" in text
    assert text.count("\n- ") == 1


def test_a_swap_smaller_than_the_spread_is_marked(table1: ModuleType) -> None:
    rows = [*made_up()[:2], row("deit_small_patch16_224", 29, jitter=0.1), row("regnety_040", 30, jitter=0.1)]
    assert "(29 and 30), within their spread" in table1.order(rows)


def test_memory_is_compared_as_a_ratio(table1: ModuleType) -> None:
    assert "goes from 1.00 (" in table1.memory(made_up())
    assert "to 2.00 (DeiT-S)" in table1.memory(made_up())


def test_too_few_models_are_not_compared(table1: ModuleType) -> None:
    assert "Too few" in table1.order(made_up()[:2])
    assert "Too few" in table1.memory([])


def test_the_page_has_a_row_a_model_by_speed_and_says_on_what(table1: ModuleType) -> None:
    broken = Row(name="huge", kind="timm", folded=False, batch=32, error="out of memory")
    text = table1.page(Profile([*made_up(), broken], ABOUT), machine="a test bench, 2 cores", figure="x.svg")
    names = [line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert names == ["resmlp_s12", "regnety_040", "deit_small_patch16_224", "resmlp_s24", "huge"]
    assert "Measured on a test bench, 2 cores, 2 threads, fp32" in text
    assert "![Published accuracy against the images per second measured here](x.svg)" in text
    assert "| 1415.1 | 35.4 | 179.5 | 1.00 | 76.6 % |" in text


def test_the_page_and_its_figure_are_made_again_from_the_json(
    table1: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "t.json", Profile(made_up(), ABOUT).to_dict())
    page = tmp_path / "page.md"
    assert table1.main(["--from", str(tmp_path / "t.json"), "--page", str(page), "--machine", "a bench"]) == 0
    assert page.read_text(encoding="utf-8").startswith("# Table 1")
    assert (tmp_path / "page.svg").read_text().startswith("<?xml")
    assert "resmlp_s12" in capsys.readouterr().out


def test_it_measures_what_it_is_told_and_writes_all_rounds(table1: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "new" / "t.json"
    words = ["resmlp_xs", "--against", "test_resnet@32", "--json", str(out), "--rounds", "2", "--seconds", "0"]
    assert table1.main(words) == 0
    assert '"batch_seconds"' in out.read_text()


def test_the_processor_is_not_named(table1: ModuleType) -> None:
    assert table1.this_machine().split(" with ")[0].split()[0] == "an"
    assert sys.platform != "linux" or "processor" in table1.this_machine()
