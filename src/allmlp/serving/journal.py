"""A line of JSON for each thing that happened, without anything that was in a picture."""

import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from allmlp.strict_json import to_json


class Journal:
    """Writes lines for programs."""

    def __init__(self, file: TextIO | None = sys.stdout) -> None:
        self.file, self.lost = file, 0

    def line(self, event: str, **values: Any) -> None:
        """A line that cannot be written is lost, and no request with it; after the first, stderr says so."""
        if self.file is None:
            return
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        text = to_json({"time": moment, "event": event, **values})  # ASCII, whatever the locale
        try:
            self.file.write(text + "\n")
            self.file.flush()
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):  # which no later line could change
            self.file = None
        if not self.lost:
            with suppress(OSError):
                print(f"allmlp: lines of the log are lost: {error.strerror}", file=sys.stderr)
        self.lost += 1


class ServerLog(logging.Handler):
    """What the HTTP server has to say, as lines of the journal."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self.journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        trace = {} if record.exc_info is None else {"trace": logging.Formatter().formatException(record.exc_info)}
        self.journal.line("server", level=record.levelname.lower(), what=record.getMessage(), **trace)
