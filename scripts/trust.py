"""Provoke every fault of tests/trust as often as docs/trust.md says, and write there what was seen.

    python scripts/trust.py                             # all of it
    python scripts/trust.py tests/trust/test_kills.py    # these rows alone; the others keep what was last seen

Words that this script does not know are pytest's. What was seen is kept in docs/trust.json.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from allmlp.strict_json import to_json

ROOT = Path(__file__).parents[1]
RECORDS, PAGE = ROOT / "docs" / "trust.json", ROOT / "docs" / "trust.md"
BEGIN, END = "<!-- rows: make trust -->\n", "<!-- end of rows -->"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page-only", action="store_true", help="write the page from docs/trust.json, run nothing")
    options, words = parser.parse_known_args()
    status = 0
    if not options.page_only:
        with tempfile.TemporaryDirectory() as folder:
            where = [] if any(word.startswith("tests") for word in words) else ["tests/trust"]
            tests = [sys.executable, "-m", "pytest", *where, "-m", "slow or not slow", "-o", "faulthandler_timeout=0", *words]
            status = subprocess.run(tests, cwd=ROOT, env={**os.environ, "ALLMLP_TRUST": folder}, check=False).returncode
            merge(Path(folder), whole=not words)
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(before + BEGIN + table(json.loads(RECORDS.read_text(encoding="utf-8"))) + END + after, encoding="utf-8")
    sys.exit(status)


def merge(folder: Path, *, whole: bool) -> None:
    """What these tests saw takes the place of what they saw last time; after a whole run, nothing older is kept."""
    kept: dict[str, list[dict[str, Any]]] = {}
    if RECORDS.exists() and not whole:
        kept = json.loads(RECORDS.read_text(encoding="utf-8"))
    for path in sorted(folder.glob("*.json")):
        seen = json.loads(path.read_text(encoding="utf-8"))
        made = {"date": datetime.date.today().isoformat(), "python": platform.python_version()}
        kept[path.stem] = [{**each, **made} for each in seen]
    RECORDS.write_text(to_json(kept, indent=1, ascii_only=False, sort_keys=True) + "\n", encoding="utf-8")


def table(records: dict[str, list[dict[str, Any]]]) -> str:
    """A heading for each fault with what must hold, and a line for each way in which it was provoked."""
    seen = [each for lines in records.values() for each in lines]
    faults = {each["fault"]["order"]: each["fault"] for each in seen}
    parts = []
    for order in sorted(faults):
        fault = faults[order]
        parts += [
            f"\n### {fault['name']}\n",
            f"Must hold: {fault['must']}\n",
            "| how | times | seen | on |",
            "|---|---:|---|---|",
        ]
        for each in sorted((e for e in seen if e["fault"]["order"] == order), key=lambda e: e["test"]):
            parts.append(f"| {each['how']} | {each['times']:,} | {each['seen']} | {each['date']}, {each['seconds']:.0f} s |")
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
