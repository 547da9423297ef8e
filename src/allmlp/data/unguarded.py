"""Scripts without `if __name__ == "__main__":`. Where processes are spawned, as on macOS, each new one imports the script and
would train, too."""

import multiprocessing
import os
import sys
from pathlib import Path

from allmlp.errors import DataError

STATUS = 93
"""With which a process leaves that finds itself training while it only imports the script."""
LONGEST = 600.0
"""Seconds that importing the script may take."""
HINT = (
    'put what the script does, down to allmlp.train, below `if __name__ == "__main__":`, so that importing it does nothing; '
    "or set data.workers to 0"
)

_proved: list[str] = []
"""The script, once a process has imported it."""


def leave_if_imported() -> None:
    """End this process, without a word, if it is importing the script which started it: the one that did says why.

    At once, since a fork server makes 1 of every other status.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(STATUS)


def check_script() -> None:
    """Start one process, once, and see whether it can import the script that runs, where processes are not forked.

    With real work in its place a script without a guard would be a lost process, again and again, or a wait without end: a
    list of many images does not fit into the pipe that nobody reads. Raises DataError that names the guard.
    """
    leave_if_imported()
    script = _script()
    if script is None or _proved or multiprocessing.get_start_method() == "fork":
        return
    status = _imported()
    if status == STATUS:
        raise DataError(
            f'{script} has no `if __name__ == "__main__":`, and each process that it starts runs it again', hint=HINT
        )
    if status != 0:
        how = "did not end" if status is None else f"ended with status {status}"
        raise DataError(
            f'a process that was to prepare images {how} while it imported {script}: is there no `if __name__ == "__main__":`?',
            hint=HINT,
        )
    _proved.append(script)


def _script() -> str | None:
    """What new processes import; None for an interactive session, and for allmlp's own command, which has its guard."""
    main = sys.modules["__main__"]
    file, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if file is None or Path(file).stem == "allmlp" or (spec is not None and spec.name.partition(".")[0] == "allmlp"):
        return None
    return str(file)


def _imported() -> int | None:
    """The exit status of a process that does nothing but import the script; None where it never came to an end."""
    child = multiprocessing.Process(target=_nothing)
    try:
        child.start()
        child.join(LONGEST)
        status = child.exitcode
    except (OSError, EOFError):  # a fork server that left as it imported the script
        return STATUS
    if status is None:
        child.kill()
    return status


def _nothing() -> None:
    """All that the process has to do."""
