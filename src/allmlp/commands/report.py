"""allmlp report"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from allmlp.commands.words import parse


@dataclass(frozen=True, kw_only=True)
class Words:
    """Write report.html into a run folder: one page that needs nothing else."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run folder."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="report")
    from allmlp.reporting.page import write_report
    from allmlp.run import Run

    print(write_report(Run.open(given.run)))
    return 0
