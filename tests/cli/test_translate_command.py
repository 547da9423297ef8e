"""allmlp translate, as a person types it."""

import io
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("sentencepiece", reason="extra translate")
pytest.importorskip("sacrebleu", reason="extra translate")

from allmlp.cli import main

SMALL = ["--translation.source", "aa", "--translation.target", "bb", "--translation.vocabulary", "100"]
SMALL += ["--translation.longest", "40", "--hyper.dim", "16", "--hyper.hidden", "16", "--hyper.depth", "1"]
SMALL += ["--train.epochs", "1"]


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("translate") / "run"
    assert main(["translate", "train", str(text), "--out", str(folder), *SMALL, "--quiet"]) == 0
    return folder


def test_evaluate_says_bleu_and_its_signature(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", "evaluate", str(run), "--beams", "1", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("BLEU ")
    assert "tok:13a" in said
    assert main(["translate", "evaluate", str(run), "--split", "val", "--beams", "1", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["sentences"] == 40


def test_predict_translates_stdin_line_by_line(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ana bere\n\ncolo\n")))
    assert main(["translate", "predict", str(run), "--quiet"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 4
    assert lines[1] == ""


def test_a_users_mistakes_are_one_line_each(
    run: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"gr\xfcn\n")))
    for words, said in (
        (["trian"], "did you mean train?"),
        (["train", str(tmp_path / "none")], "is not a folder"),
        (["train", str(text), "--out", str(tmp_path / "a")], "has no train.en"),
        (["train", str(text), "--recipe", "demo"], "no [translation] table"),
        (["train", "--resume", str(run), "--seed", "1"], "would change it"),
        (["train", "--resume", str(run)], "is finished"),
        (["evaluate", str(tmp_path)], "is not a run folder"),
        (["evaluate", str(run), "--split", "dev"], "has no dev.aa"),
        (["predict", str(run), "--beams", "0"], "0 beams"),
        (["predict", str(run)], "is no UTF-8"),
    ):
        assert main(["translate", *words]) == 2, words
        found = capsys.readouterr().err
        assert said in found, words
        assert "Traceback" not in found
    assert main(["train", "--recipe", "resmlp-mt-6", "--out", str(tmp_path / "b")]) == 2
    assert "use allmlp translate train" in capsys.readouterr().err
    assert main(["train", "--resume", str(run)]) == 2
    assert f"hint:  allmlp translate train --resume {run}" in capsys.readouterr().err
    for words, status in ((["translate"], 2), (["translate", "--help"], 0)):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == status
    assert "translate predict RUN < text" in capsys.readouterr().out
