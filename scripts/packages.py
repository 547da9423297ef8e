"""The licence of every package that locks/ names, as the installed package says it itself: docs/packages.md.

    python scripts/packages.py            # in an environment that has them all: make packages
    python scripts/packages.py --check    # 1 where a licence is unknown, or asks that what is built on it be given away alike

A package for another system is not installed here, and the page says so.
"""

import argparse
import re
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "packages.md"
BEGIN, END = "<!-- packages: make packages -->\n", "<!-- end of packages -->"
COPYLEFT = re.compile(r"\b(A?GPL|LGPL|MPL|EPL|EUPL|CDDL|GNU|Mozilla)", re.I)
OWN_TERMS = re.compile(r"NVIDIA|proprietary|other/", re.I)
LONGEST = 60
"""Characters of a licence's name; what is longer is its text."""


def locked(lock: Path) -> set[tuple[str, str]]:
    """Names and versions; another Python may have another version."""
    return set(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.M))


def licence(name: str) -> str:
    """In SPDX's words where the package uses them; "" where it says nothing, or is not here."""
    try:
        about = metadata(name)
    except PackageNotFoundError:
        return ""
    trove = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if line.startswith("License :: ")]
    said = about.get("License-Expression") or "; ".join(kind for kind in trove if kind != "OSI Approved")
    return said or next(iter((about.get("License") or "").strip().splitlines()), "")[:LONGEST]


def remark(name: str, said: str) -> str:
    """What to know of a licence."""
    if not said:
        try:
            metadata(name)
        except PackageNotFoundError:
            return "not installed on this system"
        return "**unknown**"
    if COPYLEFT.search(said):
        return "**copyleft**"
    return "its owner's own terms" if OWN_TERMS.search(said) else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a licence needs a person")
    given = parser.parse_args()
    run, everything = locked(ROOT / "locks" / "run.txt"), locked(ROOT / "locks" / "dev.txt")
    rows = []
    for name, version in sorted(everything | run):
        said = licence(name)
        rows.append((name, version, "" if (name, version) in run else "extras, tests, checks", said, remark(name, said)))
    flagged = [row for row in rows if "**" in row[4]]
    for name, version, _, said, why in flagged:
        print(f"{name} {version}: {said or 'no licence'} ({why.strip('*')})", file=sys.stderr)
    if not given.check:
        lines = ["| package | version | only for | licence | |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + rest.split(END)[1], encoding="utf-8")
    return int(given.check and bool(flagged))


if __name__ == "__main__":
    sys.exit(main())
