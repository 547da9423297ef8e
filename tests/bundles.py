"""What tests of exported bundles share: a format's libraries, and its README followed in a process without allmlp."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from allmlp.exporting.formats.table import FORMATS
from helpers import picture


def needs(name: str) -> None:
    """Skip where the format's libraries are not installed."""
    for module in FORMATS[name].modules:
        pytest.importorskip(module, reason=f"allmlp[{FORMATS[name].extra}] brings {module}")


def follow_readme(bundle: Path, number: int, size: tuple[int, int]) -> str:
    """What the README's code prints about a picture, in a fresh process that cannot import allmlp."""
    picture(number, size).save(bundle / "picture.png")
    (bundle / "picture.png").rename(bundle / "picture.jpg")  # the name is the README's; readers look at the content
    code = re.findall(r"```python\n(.*?)```", (bundle / "README.md").read_text(encoding="utf-8"), re.S)[0]
    blocked = f"import sys; sys.modules['allmlp'] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", blocked], cwd=bundle, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]
