"""The training benchmark: its arithmetic by hand, and one small measurement."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import allmlp
from allmlp.run import read_json
from allmlp.weights.load import load_weights
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


@pytest.mark.parametrize("name", ["resmlp_xs", "mixer_xs", "smlpnet_xs", "resmlp_s12", "smlpnet_t"])
def test_a_peers_network_computes_what_ours_does(name: str) -> None:
    """It takes the other's weights by the names of its checkpoints; batch norms in both of their modes."""
    torch.manual_seed(0)
    ours = allmlp.create_model(name, num_classes=5, img_size=64)
    theirs = benchmark("originals").original(ours)
    for module in theirs.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    load_weights(ours, theirs.state_dict())
    images = torch.randn(3, 3, 64, 64)
    for mode in (False, True):
        with torch.no_grad():
            one, two = (model.train(mode)(images) for model in (ours, theirs))
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5 * float(two.abs().max()))


@pytest.mark.parametrize("words", [{"img_size": (64, 32)}, {"img_size": 64, "token_rank": 2}])
def test_what_nobody_else_has_gets_no_peer(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="nobody else"):
        benchmark("originals").original(allmlp.create_model("smlpnet_xs", **words))


@pytest.mark.parametrize("case", ["resmlp_xs", "resmlp_xs:augmented"])
def test_both_loops_train_on_the_same_pictures(case: str, training: ModuleType, tmp_path: Path) -> None:
    folder = training.drawn(tmp_path / "small", 40, (32, 32), ".png")
    recipe = training.recipe_for(case)
    for make in training.LOOPS.values():
        loop = make(recipe, folder)
        images, waited = loop.step()
        assert images == 128
        assert waited > 0
        model = getattr(loop, "model", None) or loop.plan.model
        assert model.num_classes == 4


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
