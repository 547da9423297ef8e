"""allmlp pretrain: words, JSON, resuming by either command, and mistakes."""

import json
from pathlib import Path

import pytest

from allmlp.cli import main
from allmlp.run import Run, read_json
from helpers import interrupt_after

SMALL = {
    "model": "resmlp",
    "hyper.dim": 16,
    "hyper.depth": 1,
    "hyper.patch_size": 4,
    "img-size": 16,
    "train.epochs": 2,
    "train.batch": 16,
    "dino.outputs": 32,
    "dino.hidden": 16,
    "dino.bottleneck": 8,
    "dino.local-crops": 2,
    "dino.patience": 0,
    "data.in-chans": 1,
}
BRIEF = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]


def test_a_run_ends_with_json_and_what_comes_next(stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["pretrain", str(stripes), *BRIEF, "--dino.local-size", "8", "8", "--out", str(tmp_path / "run"), "--json"]) == 0
    )
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["run"] == str(tmp_path / "run")
    assert 0 <= found["knn_top1"] <= 1
    assert "allmlp train DATA --init" in said.err
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize("verb", ["pretrain", "train"])
def test_either_command_goes_on_with_it(
    verb: str, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        main(["pretrain", str(stripes), *BRIEF, "--out", str(tmp_path / "run"), "--quiet"])
    assert main([verb, "--resume", str(tmp_path / "run"), "--json", "--quiet"]) == 0
    assert "knn_top1" in json.loads(capsys.readouterr().out)
    assert read_json(Run(tmp_path / "run").state)["state"] == "finished"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["pretrain", "--recipe", "demo"], "no [dino] table"),
        (["train", "--recipe", "dino-resmlp-s12"], "use allmlp pretrain"),
        (["pretrain", "--resume", "runs/x", "--seed", "1"], "--seed would change it"),
        (["pretrain", "--img-size", "32", "--dino.local-size", "15", "15", "--model", "resmlp_xs"], "dino.local_size"),
        (["pretrain", "--train.ema", "0.9"], "train.ema means nothing without labels"),
        (["find-batch", "--recipe", "dino-resmlp-s12"], "this recipe has none"),
    ],
)
def test_mistakes_are_explained(words: list[str], what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert what in said.err + said.out
    assert "Traceback" not in said.err
