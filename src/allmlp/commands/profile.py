"""allmlp profile"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from allmlp.commands.words import parse, print_json, print_table, say
from allmlp.errors import AllmlpError


@dataclass(frozen=True, kw_only=True)
class Words:
    """Measure what models cost: parameters, multiply-adds, activations, speed, latency and memory, side by side.

    NAMES are variants ('allmlp models' lists them), shell patterns such as 'resmlp_s*', and run folders; NAME@SIZE asks
    for an image size. Activations are the numbers that convolutions and matrix products put out for one image. Peak
    memory is what torch's allocator holds at most for one batch, with weights and images, in MiB. All models take turns
    in one process; shown are medians over the rounds, and ± half the distance between the quartiles. Leave the machine
    alone while it measures. Ctrl-C shows what there is so far.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="NAMES")] = ()
    """What to measure."""
    against: Annotated[tuple[str, ...], tyro.conf.arg(metavar="TIMM_NAMES")] = ()
    """Models of timm to measure too, such as resnet50 deit_small_patch16_224 tf_efficientnet_b3@300."""
    batch: int = 32
    """Images at a time, for throughput and memory."""
    size: int | None = None
    """Pixels of a side. Default: each model's own; a run always keeps its own."""
    folded: bool = False
    """Measure each of allmlp's models in its inference form too (allmlp.fold)."""
    threads: int | None = None
    """Threads of the CPU. Default: torch's choice."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the products."""
    rounds: int = 5
    """How many turns each model has."""
    seconds: float = 0.5
    """The least time of each of a turn's two measurements."""
    published: bool = False
    """Add what the papers report: top-1 on ImageNet-1k, sizes, and speed and memory on one V100 at batch 32."""
    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Draw published accuracy against cost: a .png or .svg file."""
    cost: Literal["images", "latency", "macs", "parameters", "memory"] = "images"
    """Which cost to draw."""
    json: bool = False
    """Print everything, each round's times too, as JSON on stdout."""
    csv: bool = False
    """CSV on stdout."""
    markdown: bool = False
    """A Markdown table on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="profile")
    from allmlp.profiling.main import profile
    from allmlp.profiling.table import blocks, columns, comma_separated, markdown
    from allmlp.reporting.tradeoff import check_plot, write_tradeoff

    if given.json + given.csv + given.markdown > 1:
        raise AllmlpError("--json, --csv and --markdown exclude each other", hint="choose one")
    if given.plot is not None:
        check_plot(given.plot, given.cost)

    found = profile(
        given.names,
        against=given.against,
        batch=given.batch,
        size=given.size,
        folded=given.folded,
        device=given.device,
        precision=given.precision,
        threads=given.threads,
        rounds=given.rounds,
        seconds=given.seconds,
        quiet=False,
    )
    if found.interrupted:
        say("allmlp: interrupted; this is what there is so far")
    chosen = columns(found.rows, papers=given.published)
    if given.json:
        print_json(found.to_dict())
    elif given.csv:
        print(comma_separated(found.rows, papers=given.published), end="")
    elif given.markdown:
        print(markdown(chosen, found.rows))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        for number, table in enumerate(blocks(chosen, found.rows, width=width)):
            if number:
                print()
            right = [column.heading for column in table if column.right]
            print_table([c.heading for c in table], [[c.cell(row) for c in table] for row in found.rows], right=right)
    if given.plot is not None:
        drawn = write_tradeoff(found, given.plot, cost=given.cost)
        say(f"{given.plot}: {drawn} of {len(found.rows)} models, those with a published top-1")
    return 130 if found.interrupted else int(all(row.error for row in found.rows))
