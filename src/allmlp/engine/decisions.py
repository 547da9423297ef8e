"""What was measured once on this machine, written down, and used from then on.

One JSON file for each question in `decisions/` beside the engines: who was measured, the seconds of each, and which was chosen.
A lock lets one process measure while others wait for its answer, so that the same question never gets two answers.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from allmlp.errors import RunError
from allmlp.released.fetch import home
from allmlp.run import read_json, write_json

Decision = dict[str, Any]
"""Plain values: "chosen", and what it was chosen by."""


def decided(question: Mapping[str, Any], measure: Callable[[], Decision]) -> Decision | None:
    """The answer as it was written down, or else measured now and written down.

    Args:
        question: plain values that name all the answer depends on: machine, versions, shapes.
        measure: gives the decision; called in one process at a time, and not at all where there is an answer.

    Returns:
        The decision, or None where nothing can be kept: what was measured would then differ from one start to the next.
    """
    place = folder()
    if place is None:
        return None
    path = place / f"{_key(question)}.json"
    with ExitStack() as locked:
        try:
            place.mkdir(parents=True, exist_ok=True)
            locked.enter_context(FileLock(path.with_suffix(".lock")))
        except (OSError, NotImplementedError):  # a folder that cannot be written, a file system without locks
            return _read(path)
        found = _read(path)
        if found is None:
            found = measure()
            at = datetime.now(UTC).isoformat(timespec="seconds")
            try:
                write_json(path, {"question": dict(question), "decision": found, "measured": at})
            except (OSError, RunError):
                return None
    return found


def kept_decisions() -> list[dict[str, Any]]:
    """All that is written down on this machine: question, decision and date of each, the newest first."""
    found = []
    place = folder()
    for path in sorted(place.glob("*.json")) if place is not None else ():
        with suppress(RunError):
            content = read_json(path)
            if isinstance(content, dict) and _read(path) is not None:
                found.append(content)
    return sorted(found, key=lambda each: str(each.get("measured")), reverse=True)


def folder() -> Path | None:
    """Where decisions are kept; None where the user has no home."""
    try:
        return home() / "decisions"
    except RunError:
        return None


def _key(question: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(question), sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path) -> Decision | None:
    """None where there is none, or a damaged one."""
    try:
        if not path.is_file():
            return None
        decision = read_json(path)["decision"]
    except (OSError, RunError, KeyError, TypeError):
        return None
    return decision if isinstance(decision, dict) and "chosen" in decision else None
