"""allmlp shrink"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from allmlp.commands.words import parse, print_json, print_table, say
from allmlp.errors import AllmlpError


@dataclass(frozen=True, kw_only=True)
class Words:
    """Make a trained model smaller, train it a little further, and measure it beside what it was.

    Give one way to shrink it; the result is a run, which may be shrunk by the next. Zeros save bytes where files are
    compressed, and no time; lower rank and fewer hidden units save multiply-adds.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The run folder, its .safetensors file, or the name of a released checkpoint (allmlp models --released)."""
    data: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")] = None
    """What to train further on, and to judge by; without it the run's own images."""
    token_sparsity: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Share of the token-mixing weights that become zero, smallest first, and stay it."""
    scope: Literal["layer", "global"] = "layer"
    """Of --token-sparsity: that share of each matrix, or of all of them together."""
    token_rank: Annotated[int | None, tyro.conf.arg(metavar="RANK")] = None
    """Token-mixing matrices become products of two factors of this rank, where these are smaller."""
    token_energy: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """The same, each of the rank that keeps this share of its squared singular values."""
    channel_sparsity: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Share of the channel MLPs' hidden units that go, weakest first."""
    epochs: int = 5
    """Epochs of the fine-tune."""
    no_finetune: bool = False
    """Leave the weights as they are once shrunk."""
    lr: float | None = None
    """Peak learning rate of the fine-tune; without it a fifth of the recipe's."""
    recipe: str | None = None
    """Recipe to fine-tune by, with the values above; without it the run's own."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="NEW_RUN")] = None
    """The run folder to write; the same command goes on after it was interrupted. Default: RUN and what was asked for."""
    weights: Literal["best", "last"] = "best"
    """Which weights of the run."""
    json: bool = False
    """Print shrink.json on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="shrink")
    if given.epochs < 1:
        raise AllmlpError(f"--epochs {given.epochs}", hint="give 1 or more, or --no-finetune")
    from allmlp.reporting.ink import write_figure
    from allmlp.reporting.shrink_curve import shrink_curve
    from allmlp.shrinking.main import shrink

    report = shrink(
        given.run,
        given.data,
        token_sparsity=given.token_sparsity,
        scope=given.scope,
        token_rank=given.token_rank,
        token_energy=given.token_energy,
        channel_sparsity=given.channel_sparsity,
        epochs=0 if given.no_finetune else given.epochs,
        lr=given.lr,
        recipe=given.recipe,
        out=given.out,
        which=given.weights,
        quiet=False,
    )
    if report["state"] != "finished":
        say("stopped; the same command goes on")
        return 130 if report["signal"] == "SIGINT" else 0
    write_figure(shrink_curve(report), Path(report["out"]) / "shrink.svg")
    if given.json:
        print_json(report)
        return 0
    print_table(("", "original", "shrunk"), _rows(report), right=("original", "shrunk"))
    say(f"\n{report['out']}: {report['data']}; shrink.json has all numbers, shrink.svg draws them")
    return 0


def _rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    both = (report["original"], report["shrunk"])
    rows: list[tuple[str, ...]] = [("parameters", *(f"{side['parameters']:,}" for side in both))]
    rows += [("  not zero", *(f"{side['nonzero']:,}" for side in both))]
    rows += [("multiply-adds", *(f"{side['macs'] / 1e6:,.2f} M" for side in both))]
    names = {"bytes": "file", "gzip_bytes": "  through gzip", "packed_bytes": "  without zeros, a bit each"}
    rows += [(name, *(f"{side[key] / 1e3:,.1f} kB" for side in both)) for key, name in names.items()]
    for engine in report["original"]["images_per_s"]:
        rows.append((f"images/s, {engine}", *(_rate(side["images_per_s"].get(engine)) for side in both)))
    rows.append(("top-1 before the fine-tune", "", f"{report['shrunk']['before_tuning']['top1']:.2%}"))
    rows.append(("top-1", *(f"{side['top1']:.2%}" for side in both)))
    return rows


def _rate(found: dict[str, float] | None) -> str:
    return "-" if found is None else f"{found['median']:,.0f} ({found['low']:,.0f} to {found['high']:,.0f})"
