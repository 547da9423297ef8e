"""A script without `if __name__ == "__main__":` is told so, before it has trained anything, where processes are spawned."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow  # each script is a process that loads torch, and starts others that do

SCRIPT = """
import multiprocessing

import allmlp
from allmlp.errors import AllmlpError

{first}
{guard}
    multiprocessing.set_start_method("{method}", force=True)
    try:
        run = allmlp.train("data", out="run", quiet=True, model="resmlp", hyper=dict(dim=16, depth=1, patch_size=16),
            **{{"data.workers": 2, "data.img_size": (80, 80), "train.epochs": 1, "train.batch": 4, "train.precision": "fp32"}})
        print("finished", run.folder)
    except AllmlpError as error:
        print(type(error).__name__, error.what, "|", error.hint)
"""


@pytest.fixture
def folder(stripes: Path, tmp_path: Path) -> Path:
    """Images too large, and a list of them too long, to be handed over before a process has begun: 600 paths of 200 letters."""
    for path in sorted(stripes.glob("*/*.png")):
        place = tmp_path / "data" / path.parent.name / ("long" * 30)
        place.mkdir(parents=True, exist_ok=True)
        image = Image.open(path).resize((80, 96))
        for number in range(12):
            image.save(place / f"{path.stem}-{number}.png")
    return tmp_path


def ran(folder: Path, *, method: str, guard: str, first: str = "") -> tuple[str, str]:
    (folder / "mine.py").write_text(SCRIPT.format(method=method, guard=guard, first=first))
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=folder, capture_output=True, text=True, timeout=300, env={**os.environ}, check=False
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_without_the_guard_one_error_names_it_and_nothing_was_begun(method: str, folder: Path) -> None:
    out, err = ran(folder, method=method, guard="if True:")
    (line,) = out.splitlines()
    assert line.startswith("DataError ")
    assert 'has no `if __name__ == "__main__":`' in line
    assert "mine.py" in line
    assert "memory" not in line
    assert "Traceback" not in err
    assert not (folder / "run").exists()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_with_the_guard_it_trains(method: str, folder: Path) -> None:
    out, err = ran(folder, method=method, guard='if __name__ == "__main__":')
    assert out.splitlines() == ["finished run"], err


def test_a_script_that_breaks_when_it_is_imported_is_told_the_same(folder: Path) -> None:
    out, err = ran(folder, method="spawn", guard="if True:", first='import os\nos.mkdir("made-once")')
    (line,) = out.splitlines()
    assert "ended with status 1 while it imported" in line
    assert 'below `if __name__ == "__main__":`' in line
    assert "FileExistsError" in err  # its own words
    assert not (folder / "run").exists()


def test_where_processes_are_forked_no_guard_is_needed(folder: Path) -> None:
    assert ran(folder, method="fork", guard="if True:")[0].splitlines() == ["finished run"]
