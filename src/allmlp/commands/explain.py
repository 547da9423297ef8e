"""allmlp explain"""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from allmlp.commands.words import pair, parse, print_json, print_table, say
from allmlp.errors import AllmlpError


@dataclass(frozen=True, kw_only=True)
class Words:
    """Show what a model does: its token-mixing weights as maps and numbers, what its features depend on, and what in
    pictures speaks for a class.

    Writes index.html, explain.json and PNG files into --out. Pictures that cannot be read are listed, and the rest goes on.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The run folder, its .safetensors file, or the name of a released checkpoint (allmlp models --released)."""
    pictures: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES")] = ()
    """Files, and folders that are searched for pictures."""
    out: str
    """Folder to write into; it is made if need be."""
    weights: Literal["best", "last"] = "best"
    """Which weights of the run."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Resize the model to this size in pixels first; one number for both sides."""
    prune: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = None
    """Labelled images, as allmlp evaluate takes: accuracy with ever fewer token-mixing weights."""
    prune_images: int = 2000
    """Of these images at most so many, at even distances."""
    data: Annotated[str | None, tyro.conf.arg(metavar="DATA")] = None
    """Labelled images, as allmlp evaluate takes: a map of their features, nearest neighbours, and the most typical and the
    most confusing pictures of each class."""
    data_images: int = 2000
    """Of these images at most so many, at even distances."""
    most: int = 12
    """Pictures to explain; of more, the first ones."""
    json: bool = False
    """Print all numbers as JSON on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="explain")
    if given.most < 1 or given.prune_images < 1:
        raise AllmlpError("--most and --prune-images start at 1", hint="give 1 or more")
    if given.data_images < 2:
        raise AllmlpError("--data-images starts at 2", hint="give 2 or more")
    from allmlp import explain
    from allmlp.data.pictures import list_pictures
    from allmlp.engine.load import load

    model = load(given.run, which=given.weights, img_size=pair(given.img_size))
    paths = list_pictures(given.pictures) if given.pictures else []
    explain.ready(given.out)
    if len(paths) > given.most:
        say(f"allmlp: the first {given.most} of {len(paths)} pictures are explained; --most takes more")
    found = explain.explained(
        model,
        paths[: given.most],
        prune=given.prune,
        prune_images=given.prune_images,
        data=given.data,
        data_images=given.data_images,
    )
    page = explain.write(found, given.out, subject=given.run)
    for path, reason in found.unreadable:
        say(f"allmlp: {path}: {reason}")
    if given.json:
        print_json(found.record())
        return 0
    if found.without:
        say(f"allmlp: {found.without}")
    else:
        cells = [
            (
                row.name,
                row.axis,
                *("-" if v is None else f"{v:.2f}" for v in (row.radius, row.locality, row.symmetry, row.sparsity)),
            )
            for row in found.numbers
        ]
        columns = ("layer", "mixes", "radius", "locality", "symmetry", "sparsity")
        print_table(columns, cells, right=columns[2:])
        print()
    print(page)
    return 0
