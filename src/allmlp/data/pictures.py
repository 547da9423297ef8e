"""Pictures nobody has labelled: files, and folders of them."""

import os
from collections.abc import Iterable
from pathlib import Path

from allmlp.data.addresses import is_address
from allmlp.data.folder import walk_files
from allmlp.errors import DataError
from allmlp.pixels.read import SUFFIXES


def list_pictures(sources: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Every named file, and the pictures in every named folder, each once. Raises DataError."""
    paths: dict[str, None] = {}
    given = [os.fspath(s) for s in sources]
    for source in given:
        if is_address(source):
            raise DataError(f"{source} is an address", hint="add --out answers.parquet, which reads those")
        path = Path(source)
        if path.is_dir():
            paths.update(dict.fromkeys(p for p in walk_files(path) if p.lower().endswith(SUFFIXES)))
        elif path.exists():
            paths[source] = None
        else:
            raise DataError(f"{source} does not exist", hint="check the path")
    if not paths:
        raise DataError(
            f"there is no picture in {', '.join(given) or 'nothing'}", hint=f"give files or folders with {', '.join(SUFFIXES)}"
        )
    return list(paths)
