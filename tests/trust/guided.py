"""A parser of allmlp's own, fed by libFuzzer with bytes that reach new branches of it; needs atheris.

    python tests/trust/guided.py PARSER FOLDER CORPUS [libFuzzer's options]

PARSER is a name of tests/trust/parsers.py, FOLDER one to write in, CORPUS one with whole files. It ends with 0 after
-atheris_runs, and with a traceback and the bytes in a file at the first error that is not allmlp's own.
"""

import sys
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["allmlp"]):
    from parsers import PARSERS

    from allmlp.errors import AllmlpError

    script, name, folder, corpus, *words = sys.argv
    for whole in Path(corpus).iterdir():
        with suppress(AllmlpError):  # not every kind of file is one for every parser
            PARSERS[name][1](Path(folder), whole.read_bytes())  # which imports what it needs, to be watched too


def once(content: bytes) -> None:
    try:
        PARSERS[name][1](Path(folder), content)
    except AllmlpError as error:
        if not error.hint:
            raise RuntimeError(f"an error that says not how to hint it: {error}") from error


if __name__ == "__main__":
    atheris.Setup([script, corpus, *words], once)
    atheris.Fuzz()
