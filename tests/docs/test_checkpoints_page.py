"""The page about checkpoints: its recipes and sets are there, its commands are ones allmlp knows."""

import re
import shlex
from pathlib import Path

import pytest

from allmlp.commands import evaluate, train
from allmlp.commands.words import parse, split_hyper
from allmlp.data.vision import SETS
from allmlp.recipe import packaged_recipes

PAGE = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
SETS_AND_TRANSFER = PAGE[PAGE.index("## The papers' evaluation sets") :]
LINES = [line for block in re.findall(r"```sh\n(.*?)```", SETS_AND_TRANSFER, re.S) for line in block.splitlines()]


@pytest.mark.parametrize("line", LINES)
def test_commands_of_the_page_are_understood(line: str) -> None:
    _, command, *words = shlex.split(line)
    if command == "evaluate":
        assert parse(evaluate.Words, words, command="evaluate").data
    else:
        given = parse(train.Words, split_hyper(words)[0], command="train")
        assert given.recipe in packaged_recipes()


def test_sets_and_recipes_of_the_page_are_there() -> None:
    rows = [row.split("|")[1:4] for row in SETS_AND_TRANSFER.splitlines() if row.startswith("| `torchvision:")]
    assert len(rows) == 6
    for data, parts, recipes in rows:
        prefix = "INaturalist" if "INaturalist" in data else ""
        names = [name.removeprefix("torchvision:") for name in re.findall(r"`([^`]+)`", data)]
        for name in names:
            own = SETS[name if name in SETS else prefix + name]
            assert list(own) == [each.strip() for each in parts.split(",")]
        assert set(re.findall(r"`([^`]+)`", recipes)) <= set(packaged_recipes())


def test_every_transfer_recipe_is_on_the_page() -> None:
    for name, path in packaged_recipes().items():
        text = path.read_text(encoding="utf-8")
        if "init =" in text and "torchvision:" in text:
            assert f"`{name}`" in SETS_AND_TRANSFER, name
