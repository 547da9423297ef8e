"""What the commands share: reading words with tyro, and printing."""

import codecs
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import tyro
from rich.console import Console
from rich.table import Table

from allmlp.errors import RecipeError
from allmlp.strict_json import to_json

Answer = TypeVar("Answer")

Engines = Literal["auto", "eager", "torch", "compile", "openvino", "onnxruntime", "cuda"]
"""The backends of `allmlp.compile`, named here because looking them up would load torch."""


def parse(kind: Callable[..., Answer], words: list[str], *, command: str, default: Answer | None = None) -> Answer:
    """Command-line words → a dataclass; tyro explains mistakes and leaves with status 2."""
    extra: dict[str, Any] = {} if default is None else {"default": default}
    answer: Answer = tyro.cli(kind, args=words, prog=f"allmlp {command}", config=(tyro.conf.FlagCreatePairsOff,), **extra)
    return answer


def pair(sides: tuple[int, ...] | None) -> tuple[int, int] | None:
    """One number for both sides, or height and width. Raises RecipeError for more."""
    if sides is None:
        return None
    if len(sides) not in (1, 2):
        raise RecipeError(f"an image has height and width, not {len(sides)} numbers", hint="give --img-size 64, or 64 48")
    return sides[0], sides[-1]


def split_hyper(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Take `--hyper.NAME VALUE` out: which names there are depends on the model, not on the recipe."""
    rest, hyper = [], {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if not word.startswith("--hyper."):
            rest.append(word)
            continue
        name, equals, value = word.removeprefix("--hyper.").partition("=")
        if not equals:
            if position == len(words):
                raise RecipeError(f"{word} has no value", hint=f"write {word} 0.1, say")
            value = words[position]
            position += 1
        hyper[name.replace("-", "_")] = _literal(value)
    return rest, hyper


def _literal(text: str) -> Any:
    """A TOML value; what is none is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def print_json(value: Any) -> None:
    """For programs, on stdout; in ASCII where that is no UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(to_json(value, ascii_only=codecs.lookup(encoding).name != "utf-8") + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """For people, on stdout; as wide as it needs to be when stdout is not a terminal."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in right)
    for row in rows:
        table.add_row(*(str(cell).replace("[", r"\[") for cell in row))
    terminal = sys.stdout.isatty()
    _Stdout(file=sys.stdout, width=None if terminal else 400, highlight=False).print(table)


class _Stdout(Console):
    def on_broken_pipe(self) -> None:
        """rich would leave with 1; a reader who has had enough, such as head, is no failure (allmlp.cli)."""
        raise BrokenPipeError


def say(text: str) -> None:
    """For people, on stderr."""
    print(text, file=sys.stderr)
