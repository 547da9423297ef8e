"""allmlp models"""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from allmlp.commands.words import parse, print_json, print_table
from allmlp.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Words:
    """List the architectures.

    Parameters and multiply-adds (MACs, of one image) are counted, not quoted. Top-1 is what the paper reports for
    ImageNet-1k, trained on it alone. The licence is that of the weights the authors released.
    """

    pattern: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PATTERN")] = "*"
    """A shell pattern, such as 'resmlp_*'."""
    released: bool = False
    """List the checkpoints that others have released instead, by the names that every command takes for a run."""
    json: bool = False
    """Print a list of objects as JSON on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="models")
    return _print_released(given) if given.released else _print_models(given)


def _print_models(given: Words) -> int:
    import torch

    from allmlp.engine.cost import multiply_adds, parameters
    from allmlp.models import create_model, list_models
    from allmlp.registry import family_of
    from allmlp.released.table import released

    names = list_models(given.pattern)
    if not names:
        raise ModelError(f"no model matches {given.pattern!r}", hint="allmlp models lists them all")
    rows: list[dict[str, Any]] = []
    for name in names:
        family = family_of(name)
        with torch.device("meta"):
            model = create_model(name)
        rows.append(
            {
                "name": name,
                "parameters": parameters(model),
                "macs": multiply_adds(model),
                "img_size": list(model.img_size),
                "published_top1": family.published.get(name),
                "weights_licence": family.licences.get(name),
                "released": [entry.name for entry in released().values() if entry.model == name],
                "paper": family.paper,
            }
        )
    if given.json:
        print_json(rows)
        return 0
    print_table(
        ("name", "parameters", "GMACs", "size", "paper top-1", "weights' licence", "released", "paper"),
        [
            (
                row["name"],
                f"{row['parameters']:,}",
                f"{row['macs'] / 1e9:.3f}",
                "×".join(map(str, row["img_size"])),
                "-" if row["published_top1"] is None else f"{row['published_top1']:.1f} %",
                row["weights_licence"] or "-",
                " ".join(name.removeprefix(row["name"]) for name in row["released"]) or "-",
                row["paper"],
            )
            for row in rows
        ],
        right=("parameters", "GMACs", "size", "paper top-1"),
    )
    return 0


def _print_released(given: Words) -> int:
    from fnmatch import fnmatch

    from allmlp.released.fetch import kept
    from allmlp.released.table import released

    rows: list[dict[str, Any]] = [
        {
            "name": entry.name,
            "trained": entry.trained,
            "published_top1": entry.top1,
            "classes": entry.classes,
            "licence": entry.licence,
            "source": entry.hub or entry.url or entry.page or "comes with allmlp",
            "fetched_by_hand": entry.page is not None,
            "file": None if (path := kept(entry)) is None else str(path),
        }
        for entry in released().values()
        if fnmatch(entry.name, given.pattern) or fnmatch(entry.model, given.pattern)
    ]
    if not rows:
        raise ModelError(f"no released checkpoint matches {given.pattern!r}", hint="allmlp models --released lists them all")
    if given.json:
        print_json(rows)
        return 0
    print_table(
        ("name", "trained on", "top-1", "licence", "source", "here"),
        [
            (
                row["name"],
                row["trained"],
                "-" if row["published_top1"] is None else f"{row['published_top1']:.1f} %",
                row["licence"] or "not stated",
                row["source"] + (" (by hand)" if row["fetched_by_hand"] else ""),
                "yes" if row["file"] else "no",
            )
            for row in rows
        ],
        right=("top-1",),
    )
    return 0
