"""The training benchmark: its arithmetic by hand, and one small measurement."""

from pathlib import Path
from types import ModuleType

import pytest

from allmlp.run import read_json
from helpers import benchmark


@pytest.fixture(scope="module")
def training() -> ModuleType:
    return benchmark("training")


@pytest.fixture
def cells(training: ModuleType) -> list[object]:
    step = training.Cell(
        "resmlp_xs", 128, 32, {"timm": [0.02, 0.02], "allmlp": [0.01]}, {"timm": [0.005, 0.005], "allmlp": [1e-4]}
    )
    return [step, training.Cell("training", 1, 224, {"timm": [0.004], "allmlp": [0.005]})]


def test_a_row_says_rates_spread_how_many_times_as_fast_and_the_share_that_waits(
    training: ModuleType, cells: list[object]
) -> None:
    shown = training.table(cells)
    assert "| resmlp_xs at 32, batch 128 | 50.0 (20.00 ± 0.00) | 100.0 (10.00 ± 0.00) | 2.00 | 2 | 25% | 1% |" in shown
    assert "| training transforms, JPEG files | 250.0 (4.00 ± 0.00) | 200.0 (5.00 ± 0.00) | 0.80 | 1.3 |  |  |" in shown


def test_the_page_names_the_targets_that_were_missed(training: ModuleType, cells: list[object]) -> None:
    page = training.page(cells, {"torch": "2", "timm": "1", "rounds": 1}, "a test")
    assert "Targets not reached: training.\n" in page
    assert "allmlp 10,000, timm 200 images/s a core, 50.0 times as fast" in page


def test_both_loops_train_on_the_same_pictures(training: ModuleType, tmp_path: Path) -> None:
    folder = training.drawn(tmp_path / "small", 40, (32, 32), ".png")
    recipe = training.recipe_for("resmlp_xs")
    for make in training.LOOPS.values():
        loop = make(recipe, folder)
        images, waited = loop.step()
        assert images == 128
        assert waited > 0
        model = getattr(loop, "model", None) or loop.plan.model
        assert (model.img_size, model.num_classes) == ((32, 32), 4)


def test_it_measures_a_folder_that_is_given_writes_and_reads_again(
    training: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "PATH_IMAGES", 3)
    pictures = training.drawn(tmp_path / "pictures", 1, (40, 30), ".jpg")
    found, page = tmp_path / "build" / "training.json", tmp_path / "docs" / "training.md"
    words = ["--cases", "--pictures", str(pictures), "--quick", "--rounds", "2", "--json", str(found)]
    assert training.main(words) == 0
    cells = read_json(found)["cells"]
    assert [cell["name"] for cell in cells] == ["evaluation", "training", "randaugment"]
    assert all(len(cell["seconds"][side]) == 2 for cell in cells for side in ("timm", "allmlp"))
    capsys.readouterr()
    assert training.main(["--from", str(found), "--page", str(page), "--machine", "a test"]) == 0
    assert capsys.readouterr().out.strip() in page.read_text()
