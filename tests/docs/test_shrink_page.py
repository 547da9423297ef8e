"""The page on smaller models: its commands are understood, and what it counts is so."""

import re
import shlex
from pathlib import Path

from allmlp import load, load_recipe
from allmlp.commands.shrink import Words
from allmlp.commands.words import parse
from allmlp.engine.cost import multiply_adds, parameters
from allmlp.models import create_model
from allmlp.shrinking.methods import Asked, mixing_weights, shrunk

PAGE = (Path(__file__).parents[2] / "docs" / "shrink.md").read_text(encoding="utf-8")


def test_the_commands_of_the_page_are_understood() -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
    lines = [shlex.split(line) for line in block.splitlines() if "shrink" in line]
    assert len(lines) == 7
    for line in lines:
        given = parse(Words, line[2:], command="shrink")
        Asked(
            token_sparsity=given.token_sparsity,
            token_rank=given.token_rank,
            channel_sparsity=given.channel_sparsity,
            scope=given.scope,
        )


def test_the_counts_of_the_page_are_those_of_the_models() -> None:
    recipe = load_recipe("demo")
    demo = create_model(recipe.model, **recipe.hyper, img_size=28, in_chans=1, num_classes=10)
    mixing = sum(weight.numel() for weight in mixing_weights(demo).values())
    assert f"{mixing:,} of the demo's {parameters(demo):,}" in PAGE.replace("\n", " ").replace("  ", " ")
    for model, asked in (
        (demo, Asked(token_rank=4)),
        (demo, Asked(channel_sparsity=0.5)),
        (load("smlpnet_xs.cifar10"), Asked(channel_sparsity=0.5)),
        (load("smlpnet_xs.cifar10"), Asked(token_rank=3)),
    ):
        assert f"| {multiply_adds(model) / 1e6:.2f} M |" in PAGE
        assert f"| {multiply_adds(shrunk(model, asked).model) / 1e6:.2f} M |" in PAGE
