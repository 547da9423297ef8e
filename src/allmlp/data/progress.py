"""A bar on stderr for anything that makes a person wait."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Item = TypeVar("Item")


class Speaker(Console):
    """Speaks on stderr as long as somebody listens: `2>&1 | head` ends no work."""

    def __init__(self, *, quiet: bool = False) -> None:
        super().__init__(file=sys.stderr, quiet=quiet, highlight=False)

    def on_broken_pipe(self) -> None:
        """rich would leave the process with 1."""
        self.quiet = True


def tell(lines: Iterable[str], *, quiet: bool = False) -> None:
    """Say something on stderr, a line each."""
    speaker = Speaker(quiet=quiet)
    for line in lines:
        speaker.print(line, style="yellow", markup=False, soft_wrap=True)


@contextmanager
def opened(path: Path, what: str, *, quiet: bool = False) -> Iterator[BinaryIO]:
    """A file to read; while it is read, how far."""
    with _bar(what, DownloadColumn(), quiet) as bar, bar.open(path, "rb") as file:
        yield file


def watched(items: Iterable[Item], *, total: int, what: str, quiet: bool = False) -> Iterator[Item]:
    """The same items; while they are taken, how many of `total` are done. Nothing is shown where stderr is no terminal."""
    with _bar(what, MofNCompleteColumn(), quiet) as bar:
        yield from bar.track(items, total=total)


@contextmanager
def waiting(what: str, *, quiet: bool = False) -> Iterator[None]:
    """Something that turns beside `what`, while the block runs. Nothing is shown where stderr is no terminal."""
    console = Speaker()
    with nullcontext() if quiet or not console.is_terminal else console.status(what):
        yield


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f}/s")


@contextmanager
def counting(total: int | None, what: str, *, done: int = 0, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A function to be told how many more are done; it shows that, their rate, and the time left. total: None if unknown."""
    with _bar(what, MofNCompleteColumn(), quiet, _Rate()) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda more: bar.advance(task, more)


def _bar(what: str, count: ProgressColumn, quiet: bool, *more: ProgressColumn) -> Progress:
    console = Speaker()
    columns = (TextColumn(what), BarColumn(bar_width=24), count, *more, TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
