"""What a person sees while training: a summary, a live line, one line per epoch, and what to do next."""

import shutil
import sys
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from allmlp.data.progress import Speaker
from allmlp.files import writing
from allmlp.run import Run


class Display:
    """Speaks on stderr and into the run's log. A live line where stderr is a terminal, plain lines elsewhere."""

    def __init__(self, log: Path | None, *, quiet: bool = False, counts: str = "images") -> None:
        self.console = Speaker(quiet=quiet)
        self.log, self.counts = log, counts
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.progress.add_task("", total=None, epoch="", now="")

    def say(self, text: str, style: str = "") -> None:
        """One line on the screen and in the log."""
        self.console.print(text, style=style, markup=False, soft_wrap=True)
        if self.log is not None:
            with writing(self.log), self.log.open("a", encoding="utf-8", errors="backslashreplace") as log:
                log.write(text + "\n")

    def begin(self, *, done: int, total: int) -> None:
        """Start the live line at step `done` of `total`."""
        self.progress.reset(self.task, total=total, completed=done)
        self.progress.start()

    def step(self, *, epoch: int, epochs: int, done: int, loss: float, accuracy: float | None, rate: float) -> None:
        """After each step: images/s and loss of the epoch so far."""
        shown = "" if accuracy is None else f"  acc {accuracy:5.1%}"
        self.progress.update(
            self.task, completed=done, epoch=f"{epoch}/{epochs}", now=f"loss {loss:.3f}{shown}  {rate:,.0f} {self.counts}/s"
        )

    def epoch(self, record: dict[str, Any], *, epochs: int, left: float, best: bool) -> None:
        """After each epoch: one line that stays."""
        found = _accuracy(record) if "val_top1" in record else _features(record)
        line = (
            f"epoch {record['epoch']:>{len(str(epochs))}}/{epochs}  loss {record['train_loss']:.3f}  {found}"
            f"  {record[f'{self.counts}_per_s']:,.0f} {self.counts}/s  left {clock(left)}"
        )
        self.say(line + ("  *" if best else ""))

    def end(self) -> None:
        self.progress.stop()


def _accuracy(record: dict[str, Any]) -> str:
    top1 = max(record["val_top1"], record.get("ema_top1") or 0.0)
    return f"val loss {record['val_loss']:.3f}  val top-1 {top1:.2%}{_agreement(record)}"


def _features(record: dict[str, Any]) -> str:
    """Of a run without labels."""
    measured = f"  k-NN top-1 {record['knn_top1']:.2%}" if "knn_top1" in record else ""
    return f"teacher: entropy {record['teacher_entropy']:.1%}, information {record['teacher_information']:.1%}{measured}"


def _agreement(record: dict[str, Any]) -> str:
    if "val_agreement" not in record:
        return ""
    return f"  agrees with teacher {record['val_agreement']:.1%} (its top-1 {record['val_teacher_top1']:.2%})"


def clock(seconds: float) -> str:
    """75 → "1:15"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def counted(number: int, what: str) -> str:
    """1, "step" → "1 step"; 2 → "2 steps"."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def program() -> str:
    """How to call allmlp from here: by its name where the shell finds it, else by the path it was called by."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "allmlp" and shutil.which("allmlp") is None else "allmlp"


def next_commands(run: Run, *, classes: bool = True) -> list[str]:
    """What one does with a finished run, of a model with classes or without."""
    features = {
        f"{program()} evaluate {run.folder} DATA --knn --linear": "measure its features on labelled images",
        f"{program()} train DATA --init {run.folder}": "learn classes from there",
        f"open {run.report}": "read the report",
    }
    commands = (
        features
        if not classes
        else {
            f"{program()} predict {run.folder} PICTURE": "classify pictures",
            f"{program()} evaluate {run.folder} DATA": "measure it on other images",
            f"open {run.report}": "read the report",
        }
    )
    width = max(map(len, commands))
    return [f"{command:<{width}}   {what}" for command, what in commands.items()]
