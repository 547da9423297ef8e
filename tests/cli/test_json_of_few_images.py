"""Commands asked for JSON give JSON that every parser reads, where there is next to nothing to measure."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from allmlp.cli import main
from allmlp.recipe import Recipe


def strict(text: str) -> Any:
    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"bare {name}")

    return json.loads(text, parse_constant=refuse)


def test_train_evaluate_and_compare_of_one_image_and_of_an_empty_class(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    """What has nothing to divide by is null."""
    (tmp_path / "recipe.toml").write_text(small_recipe(train={"epochs": 1}).to_toml())
    for name in ("a", "b"):
        command = ["train", str(stripes), "--recipe", str(tmp_path / "recipe.toml"), "--out", str(tmp_path / name), "--json"]
        assert main([*command, "--quiet"]) == 0
        assert 0 <= strict(capsys.readouterr().out)["top1"] <= 1
    few = tmp_path / "few"
    (few / "across").mkdir(parents=True)
    shutil.copy(next((stripes / "across").glob("*.png")), few / "across")
    assert main(["evaluate", str(tmp_path / "a"), str(few), "--json"]) == 0
    found = strict(capsys.readouterr().out)
    rows = {row["class"]: row for row in found["per_class"]}
    assert (found["images"], rows["down"]["images"], rows["down"]["accuracy"]) == (1, 0, None)
    assert rows["across"]["accuracy"] == found["top1"]
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--data", str(few), "--json"]) == 2  # nothing to resample
    assert "hint:" in capsys.readouterr().err
    shutil.copy(sorted((stripes / "across").glob("*.png"))[-1], few / "across")
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--data", str(few), "--json"]) == 0
    compared = strict(capsys.readouterr().out)
    assert compared["images"] == 2
    assert main(["evaluate", str(tmp_path / "a"), "--json"]) == 0
    strict(capsys.readouterr().out)
    for path in (*tmp_path.rglob("*.json"), *tmp_path.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines() if path.suffix == ".jsonl" else [path.read_text("utf-8")]:
            strict(line)
