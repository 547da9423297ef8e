"""A line of JSON for each thing that happened, without anything that was in a picture."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO


class Journal:
    """Writes lines for programs."""

    def __init__(self, file: TextIO | None = sys.stdout) -> None:
        self.file = file

    def line(self, event: str, **values: Any) -> None:
        if self.file is None:
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        self.file.write(json.dumps({"time": moment, "event": event, **values}, ensure_ascii=False) + "\n")
        self.file.flush()


class ServerLog(logging.Handler):
    """What the HTTP server has to say, as lines of the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self.journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        trace = {} if record.exc_info is None else {"trace": logging.Formatter().formatException(record.exc_info)}
        self.journal.line("server", level=record.levelname.lower(), what=record.getMessage(), **trace)
