"""A bar on stderr while models are measured."""

import sys
from types import TracebackType

from rich import progress
from rich.console import Console


class Progress:
    """Where stderr is a terminal; silent elsewhere."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        console = Console(file=sys.stderr)
        self._bar = progress.Progress(
            progress.BarColumn(bar_width=24),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.stop()

    def at(self, text: str) -> None:
        """Say what is being done."""
        self._bar.update(self._task, description=text)

    def done(self) -> None:
        """One step more is done."""
        self._bar.advance(self._task)
