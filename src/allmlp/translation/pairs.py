"""Sentences and their translations, line by line."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from allmlp.errors import DataError, one_of

TOO_LONG = 10_000
"""Characters of a line that is no sentence."""


@dataclass(frozen=True)
class Pairs:
    """Of one split of a folder."""

    name: str
    source: tuple[str, ...]
    target: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.source)


def open_pairs(folder: str | Path, split: str, languages: tuple[str, str]) -> Pairs:
    """FOLDER/SPLIT.LANGUAGE of both, as text or .gz, UTF-8, one sentence a line; pairs with an empty side are left out.

    Raises DataError for files that are missing, no text, or of unequal length.
    """
    files = [_file(Path(folder), split, language) for language in languages]
    source, target = (tuple(_lines(file)) for file in files)
    if len(source) != len(target):
        raise DataError(
            f"{files[0]} has {len(source):,} lines and {files[1]} {len(target):,}",
            hint="line n of one must be the translation of line n of the other",
        )
    kept = [(one, two) for one, two in zip(source, target, strict=True) if one and two]
    if not kept:
        raise DataError(f"{files[0]} has no sentences", hint="give one a line")
    ones, twos = zip(*kept, strict=True)
    return Pairs(split, ones, twos)


def _file(folder: Path, split: str, language: str) -> Path:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", hint=f"give a folder with {split}.{language} (or {split}.{language}.gz)")
    for name in (f"{split}.{language}", f"{split}.{language}.gz"):
        if (folder / name).is_file():
            return folder / name
    known = {file.name.removesuffix(".gz") for file in folder.iterdir() if file.is_file()}
    raise DataError(
        f"{folder} has no {split}.{language}", hint=one_of(known, f"{split}.{language}") if known else "put it there"
    )


def _lines(file: Path) -> Iterator[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8", newline="\n") as stream:
            number = 0
            while line := stream.readline(TOO_LONG + 1):
                number += 1
                if len(line) > TOO_LONG:
                    raise DataError(
                        f"{file}, line {number} has more than {TOO_LONG:,} characters", hint="give a sentence a line"
                    )
                yield line.strip()
    except UnicodeDecodeError:
        raise DataError(f"{file} is no UTF-8", hint="convert it: iconv -f latin1 -t utf-8") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{file} cannot be read: {error}", hint="check that the file is whole") from None
