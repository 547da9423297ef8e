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
    robustness: bool = False
    """Measure first how accuracy holds when images are corrupted; kept in the run folder for later reports."""
    data_sheet: bool = False
    """Look first at every image, for sizes and for duplicates between training and validation; kept as well."""
    images: int = 1000
    """For --robustness: at most so many, at even distances."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="report")
    from allmlp.reporting.page import write_report
    from allmlp.run import Run

    run = Run.open(given.run)
    if given.data_sheet:
        from allmlp.evaluation.datasheet import describe_data

        describe_data(run)
    if given.robustness:
        from allmlp.evaluation.robustness import measure_robustness

        measure_robustness(run, images=given.images)
    print(write_report(run))
    return 0
