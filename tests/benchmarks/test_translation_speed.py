"""The translation benchmark: its words by hand, and one small measurement."""

from pathlib import Path
from types import ModuleType

import pytest

from allmlp.run import read_json
from helpers import benchmark


@pytest.fixture(scope="module")
def speed() -> ModuleType:
    return benchmark("translation")


def test_a_row_says_pieces_a_second_and_how_many_times_the_transformers(speed: ModuleType) -> None:
    seconds = {"xs": {"train: resmlp": [0.002, 0.002], "train: transformer": [0.004, 0.004]}}
    assert "| train: resmlp | 500 ± 0 (2.00) |" in speed.table(seconds)


def test_it_measures_writes_and_reads_again(
    speed: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("VOCABULARY", 50), ("LENGTH", 3), ("SENTENCES", 2), ("LONGEST", 8)):
        monkeypatch.setattr(speed, name, value)
    found, page = tmp_path / "found.json", tmp_path / "page.md"
    assert speed.main(["--sizes", "xs", "--rounds", "1", "--json", str(found), "--page", str(page)]) == 0
    first = capsys.readouterr().out
    assert len(read_json(found)["seconds"]["xs"]) == 7
    assert "pieces a second" in page.read_text(encoding="utf-8")
    assert speed.main(["--from", str(found)]) == 0
    assert capsys.readouterr().out == first
