"""The rows of docs/trust.md: a test says what it did and saw, and `scripts/trust.py` writes it down."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = os.environ.get("ALLMLP_TRUST")
"""Where what was seen is written, by `make trust`; then every fault is provoked as often as the page says, else less often."""


@dataclass(frozen=True)
class Fault:
    """A row of the page. Each file of tests/trust has one, FAULT."""

    order: int
    name: str
    must: str
    """What has to hold."""


@dataclass(frozen=True)
class Seen:
    """One line of a row: how the fault was provoked, how often, and what was seen. A test that fails says so here too."""

    test: str
    fault: Fault
    how: str
    times: int
    seen: str
    held: bool
    seconds: float


class Card:
    """What a test is given to count and to report by."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.lines: list[tuple[str, int, str]] = []

    def times(self, full: int, quick: int) -> int:
        """How often to provoke it: as often as the page says, or, in an ordinary test run, less often."""
        return full if FOLDER else quick

    def within(self, seconds: float, limit: float) -> None:
        """Hold a time to its limit where times are measured, by `make trust`; an ordinary test run judges none."""
        assert not FOLDER or seconds < limit, f"{seconds:.1f} s, and {limit:g} s are the limit"

    def seen(self, how: str, times: int, what: str) -> None:
        """Say, at the end of a test whose assertions all held, what was seen."""
        self.lines.append((how, times, what))


def write(seen: list[Seen], name: str) -> None:
    """One file a test, so that tests beside each other never meet."""
    if FOLDER:
        path = Path(FOLDER) / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(each) for each in seen], indent=1, ensure_ascii=False), encoding="utf-8")
