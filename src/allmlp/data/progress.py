"""A bar on stderr for anything that makes a person wait."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


def watched(items: Iterable[Item], *, total: int, what: str, quiet: bool = False) -> Iterator[Item]:
    """The same items; while they are taken, how many of `total` are done. Nothing is shown where stderr is no terminal."""
    console = Console(file=sys.stderr)
    columns = (TextColumn(what), BarColumn(bar_width=24), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        yield from bar.track(items, total=total)
