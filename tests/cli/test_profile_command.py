"""`allmlp profile` as a person and a program meet it."""

import csv
import io
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from allmlp.cli import main
from allmlp.profiling import main as profiling

QUICK = ["--rounds", "1", "--seconds", "0", "--batch", "2"]
MODELS = ["resmlp_xs", "mixer_xs", "--against", "test_resnet@64"]


def test_table_json_csv_and_markdown_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", *MODELS, *QUICK, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found["rows"]] == ["resmlp_xs", "mixer_xs", "test_resnet"]
    assert (found["environment"]["batch"], found["interrupted"]) == (2, False)
    assert main(["profile", *MODELS, *QUICK, "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for row, other in zip(found["rows"], table, strict=True):
        counted = ["parameters", "macs", "activations", *(["peak_bytes"] if row["kind"] == "allmlp" else [])]
        assert [int(other[key]) for key in counted] == [row[key] for key in counted]
    for words in ([], ["--markdown"]):
        assert main(["profile", *MODELS, *QUICK, *words]) == 0
        out = capsys.readouterr().out
        assert all(said in out for said in ("resmlp_xs", "0.58", "64×64", "images/s", "peak MiB"))


def test_published_numbers_stand_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "resmlp_s12", *QUICK, "--batch", "1", "--published"]) == 0
    out = capsys.readouterr().out
    assert all(said in out for said in ("76.6 %", "1415.1", "179.5", "arXiv:2105.03404"))


def test_a_plot_is_written_beside_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "plot.svg"
    words = ["profile", "resmlp_s12", "resmlp_xs", *QUICK, "--batch", "1", "--plot", str(out), "--cost", "macs"]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "1 of 2 models" in captured.err
    assert "resmlp_xs" in captured.out
    assert out.is_file()


def test_a_model_that_fails_is_a_row_and_all_failing_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "resmlp_s12@225", "resmlp_xs", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "failed" in out
    assert "225" in out
    assert main(["profile", "resmlp_s12@225", *QUICK]) == 1


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ([], "there is nothing to measure", "allmlp profile resmlp_s12"),
        (["resmlp_s13"], "resmlp_s13", "did you mean resmlp_s"),
        (["/no/run"], "is not a run folder", "allmlp train"),
        (["resmlp_xs", "--against", "resnet49"], "timm has no model named 'resnet49'", "did you mean"),
        (["resmlp_xs", "--json", "--csv"], "exclude each other", "choose one"),
        (["resmlp_xs", "--batch", "0"], "batch is 0", "1 or more"),
        (["resmlp_xs", "--plot", "x.pdf"], "neither a .png nor an .svg", "use x.png"),
        (["resmlp_xs", "--plot", "no/x.png"], "there is no folder no", "make it"),
    ],
)
def test_a_mistake_is_said_before_anything_is_measured(
    words: list[str], said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(profiling, "_measure", lambda *_: pytest.fail("measured"))
    assert main(["profile", *words]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert hint in captured.err.partition("hint:")[2]
    assert captured.out == ""


def test_nothing_to_plot_does_not_cost_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "resmlp_xs", *QUICK, "--plot", str(tmp_path / "p.png")]) == 2
    captured = capsys.readouterr()
    assert "resmlp_xs" in captured.out
    assert "nothing to plot" in captured.err


def test_ctrl_c_prints_what_there_is_so_far(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    turn, turns = profiling._turn, iter(range(1, 10))

    def interrupted(*words: Any) -> None:
        turn(*words)
        if next(turns) == 3:
            signal.default_int_handler(signal.SIGINT, None)  # a shell in the background has SIGINT ignored

    monkeypatch.setattr(profiling, "_turn", interrupted)
    words = ["profile", "resmlp_xs", "mixer_xs", "--rounds", "5", "--seconds", "0", "--batch", "2", "--json"]
    assert main(words) == 130
    captured = capsys.readouterr()
    assert "interrupted; this is what there is so far" in captured.err
    found = json.loads(captured.out)
    assert found["interrupted"]
    assert sorted(len(row["batch_seconds"]) for row in found["rows"]) == [1, 2]
