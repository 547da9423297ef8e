"""Pictures nobody has labelled: files, and folders of them."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from allmlp.data.addresses import is_address
from allmlp.data.archive import is_archive
from allmlp.data.folder import walk_files
from allmlp.data.names import ending, in_endings, is_image
from allmlp.data.progress import tell
from allmlp.data.run_folders import in_one_line, refuse_run_folder
from allmlp.errors import DataError
from allmlp.pixels.formats import SUFFIXES, reader_of


def list_pictures(
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    passed_over: Counter[str] | None = None,
    *,
    quiet: bool = False,
) -> list[str]:
    """Every named file, and the images in every named folder, each once.

    Run folders below those are passed over, and named on stderr unless quiet.
    passed_over: is told the endings of the other files in those folders. Raises DataError, also for a run folder.
    """
    others: Counter[str] = Counter() if passed_over is None else passed_over
    paths: dict[str, None] = {}
    given, notes = named(sources), list[str]()
    for source in given:
        if is_address(source):
            raise DataError(f"{source} is an address", hint="add --out answers.parquet, which reads those")
        refuse_run_folder(source)
        path = Path(source)
        if path.is_dir():
            for file in walk_files(path, notes):
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
    tell(in_one_line(notes), quiet=quiet)
    if not paths:
        told = f" ({in_endings(others)})" if others else ""
        raise DataError(
            f"there is no picture in {', '.join(given) or 'nothing'}{told}",
            hint=f"give files or folders with {', '.join(SUFFIXES)}{reader_of(others)}",
        )
    return list(paths)


def named(sources: object) -> list[str]:
    """Paths as text; one alone counts as a list of one. Raises DataError for what is no path."""
    if isinstance(sources, str | os.PathLike):
        return [_path(sources)]
    if not isinstance(sources, Iterable) or isinstance(sources, bytes):
        raise _no_path(sources)
    return [_path(source) for source in sources]


def _path(source: object) -> str:
    found = os.fspath(source) if isinstance(source, str | os.PathLike) else source
    if not isinstance(found, str):
        raise _no_path(source)
    return found


def _no_path(given: object) -> DataError:
    return DataError(
        f"paths of images are expected here, not {type(given).__name__}",
        hint="give files and folders; model.predict takes images that are in memory",
    )
