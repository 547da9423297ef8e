"""allmlp pack"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from allmlp.commands.words import parse, print_json, say


@dataclass(frozen=True, kw_only=True)
class Words:
    """Write a data set into WebDataset shards with an index: a few large files instead of many small ones.

    Pictures that are small enough stay as they are, bit for bit. Begun again, it keeps the shards that are finished.
    """

    data: Annotated[str, tyro.conf.Positional]
    """What allmlp train takes: a folder of class folders, an archive, a data set's name."""
    shards: int = 8
    """Shards for the training images; other parts get as many more as they need."""
    size: int | None = 256
    """Pictures whose shorter side is longer, in pixels, are resized to it, unless they have more than 8 bits a channel; "None":
    none is."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Where they are written. Default: the data set's name with -shards."""
    max_bad_share: float = 0.01
    """Largest share of unreadable images that is put up with."""
    quiet: bool = False
    """Show nothing while packing."""
    json: bool = False
    """At the end, print what was written as JSON on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="pack")
    from allmlp.data.damage import in_words
    from allmlp.data.pack import pack
    from allmlp.data.sources import open_parts

    parts = open_parts(given.data, quiet=given.quiet)
    out = given.out or Path(f"{parts.title}-shards")
    made = pack(parts, out, shards=given.shards, size=given.size, max_bad_share=given.max_bad_share, quiet=given.quiet)
    counts, bad = made.counts(), made.unreadable
    size = sum(shard.bytes for shard in made.shards)
    if given.json:
        shown = {name: part["images"] for name, part in counts.items()}
        print_json({"out": str(out), "classes": made.classes, "images": shown, "shards": len(made.shards), "bytes": size})
    if not given.quiet:
        images = " and ".join(f"{part['images']:,} {name}" for name, part in counts.items())
        shards = f"{len(made.shards)} shard{'s' * (len(made.shards) != 1)}"
        say(f"{images} images of {len(made.classes)} classes in {shards}, {size / 1e6:,.1f} MB: {out}")
        if bad:
            say(f"{len(bad)} could not be read: {in_words(bad)}")
        say(f"\nnext:\n  allmlp train {out}")
    return 0
