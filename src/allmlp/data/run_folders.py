"""Run folders and exported bundles where images are expected: their images are reports, and nobody's data."""

import os
from collections.abc import Iterable

from allmlp.data.names import few, is_leftover
from allmlp.errors import DataError

RUN, RUN_HAS = "run.json", ("recipe.toml", "metrics.jsonl", "environment.json", "best.safetensors", "last.safetensors")
"""What every run folder holds, and what else one of them is told by."""
BUNDLE, BUNDLE_HAS = "bundle.json", ("model.", "README.md")
WEIGHTS = ".safetensors"
FOUND = "run folder passed over: "
"""How a line on one begins."""


def is_run_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is a run, or an exported bundle, by the names in it."""
    place = os.fspath(path)
    if _has(place, RUN):
        return any(_has(place, name) for name in RUN_HAS)
    if _has(place, BUNDLE):
        return any(name.startswith(BUNDLE_HAS) for name in os.listdir(place))  # noqa: PTH208
    return any(_has(place, which + WEIGHTS) and _has(place, f"{which}.json") for which in ("best", "last"))


def holds_runs_alone(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is a run, or holds nothing but runs, as `runs` does beside class folders."""
    if is_run_folder(path):
        return True
    found = False
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if is_leftover(entry.name):
                    continue
                if not entry.is_dir() or not is_run_folder(entry.path):
                    return False
                found = True
    except OSError:  # whoever lists it says so
        return False
    return found


def refuse_run_folder(path: str | os.PathLike[str]) -> None:
    """Raises DataError for a run folder, a folder of such, a bundle, or weights in the place of images."""
    what = _what_it_is(os.fspath(path))
    if what:
        raise DataError(
            f"{os.fspath(path)} is {what}, and images are expected here",
            hint="give images. Runs side by side: allmlp compare RUN RUN; on with a run: allmlp train --resume RUN; "
            "from its weights: allmlp train DATA --init RUN",
        )


def _what_it_is(place: str) -> str:
    if os.path.isdir(place):  # noqa: PTH112
        if is_run_folder(place):
            return "an exported bundle" if _has(place, BUNDLE) else "a run folder"
        return "a folder of runs" if holds_runs_alone(place) else ""
    return "a model's weights" if place.endswith(WEIGHTS) and os.path.isfile(place) else ""  # noqa: PTH113


def in_one_line(notes: Iterable[str]) -> list[str]:
    """Notes, with those on run folders as one."""
    lines = list(dict.fromkeys(notes))
    runs = sorted(line.removeprefix(FOUND) for line in lines if line.startswith(FOUND))
    others = [line for line in lines if not line.startswith(FOUND)]
    if not runs:
        return others
    several = f"{len(runs):,} run folders passed over: " if len(runs) > 1 else FOUND
    return [*others, several + few(runs, 4)]


def _has(folder: str, name: str) -> bool:
    return os.path.isfile(os.path.join(folder, name))  # noqa: PTH113, PTH118 - asked of every folder that is walked
