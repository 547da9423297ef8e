"""The page on explanations: its commands and its Python run, its pictures are small, its numbers are those of the model."""

import re
import shlex
from pathlib import Path

import pytest

from allmlp import explain, load
from allmlp.commands.explain import Words
from allmlp.commands.words import parse
from allmlp.explanation.numbers import mixing_numbers

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "explain.md").read_text(encoding="utf-8")


def test_the_command_of_the_page_is_understood() -> None:
    (line,) = re.findall(r"```sh\n(.*?)\n```", PAGE, re.S)
    given = parse(Words, shlex.split(line)[2:], command="explain")
    assert given.pictures == ("horse.webp", "ship.webp")


def test_the_python_of_the_page_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(block, "explain.md", "exec"), {})
    assert (tmp_path / "why" / "index.html").is_file()
    assert "stages.0.blocks.0 columns" in capsys.readouterr().out


def test_the_pictures_are_there_and_small() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)
    assert {path.relative_to(DOCS).as_posix() for path in (DOCS / "explain").iterdir()} == set(shown)
    assert sum((DOCS / name).stat().st_size for name in shown) < 500_000


def test_the_numbers_of_the_page_are_the_models() -> None:
    rows = [mixing_numbers(layer) for layer in explain.token_mixing(load("smlpnet_xs.cifar10"))]
    first, last = rows[:2], rows[-2:]
    radii = sorted(row.radius or 0 for row in first)
    assert f"{radii[0]:.1f} to {radii[1]:.1f}" in PAGE
    assert f"{first[0].even_radius:.1f};" in PAGE
    assert all(row.radius == pytest.approx(row.even_radius, abs=0.2) for row in last)
    along_width = [row.symmetry for row in rows if row.axis == "columns"]
    assert f"{along_width[0]:.2f} in the first block" in PAGE
    assert f"−{-(along_width[2] or 0):.2f} in the third" in PAGE
