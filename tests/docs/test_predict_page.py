"""The page about many pictures: its commands are ones allmlp knows."""

import re
import shlex
from pathlib import Path

import pytest

from allmlp.commands.predict import Words
from allmlp.commands.words import parse
from allmlp.prediction.parts import ROWS

PAGE = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_commands_of_the_page_are_understood(line: str) -> None:
    words = shlex.split(line)
    given = parse(Words, words[words.index("predict") + 1 :], command="predict")
    assert given.out is not None
    assert given.pictures


def test_the_page_names_the_unit_of_work() -> None:
    assert f"The unit is {ROWS:,} pictures" in PAGE
