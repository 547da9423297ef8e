"""docs/packages.md has the packages of locks/, each with a licence."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_locked_package_is_on_the_page_with_its_version_and_a_licence() -> None:
    pinned = {
        found
        for lock in (ROOT / "locks").glob("*.txt")
        for found in re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.M)
    }
    page = (ROOT / "docs" / "packages.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.split(" | ")]
        for line in page.splitlines()
        if re.match(r"\| [A-Za-z0-9_.-]+ \| \d", line)
    ]
    assert {(row[0].removeprefix("| "), row[1]) for row in rows} == pinned
    assert not [row for row in rows if not row[3] and not row[4].startswith(("not installed", "**unknown**"))]
