"""Pictures nobody has labelled: files, and folders of them."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from allmlp.data.addresses import is_address
from allmlp.data.archive import is_archive
from allmlp.data.folder import walk_files
from allmlp.data.names import ending, in_endings, is_image
from allmlp.errors import DataError
from allmlp.pixels.formats import SUFFIXES, reader_of


def list_pictures(sources: Iterable[str | os.PathLike[str]], passed_over: Counter[str] | None = None) -> list[str]:
    """Every named file, and the images in every named folder, each once.

    passed_over: is told the endings of the other files in those folders. Raises DataError.
    """
    others: Counter[str] = Counter() if passed_over is None else passed_over
    paths: dict[str, None] = {}
    given = [os.fspath(s) for s in sources]
    for source in given:
        if is_address(source):
            raise DataError(f"{source} is an address", hint="add --out answers.parquet, which reads those")
        path = Path(source)
        if path.is_dir():
            for file in walk_files(path):
                if is_image(file):
                    paths[file] = None
                else:
                    others[ending(file)] += 1
        elif path.is_file() and is_archive(source):
            raise DataError(f"{source} is an archive", hint="add --out predictions.parquet, which reads those")
        elif path.exists():
            paths[source] = None
        else:
            raise DataError(f"{source} does not exist", hint="check the path")
    if not paths:
        told = f" ({in_endings(others)})" if others else ""
        raise DataError(
            f"there is no picture in {', '.join(given) or 'nothing'}{told}",
            hint=f"give files or folders with {', '.join(SUFFIXES)}{reader_of(others)}",
        )
    return list(paths)
