"""Odd names, locales, homes, clocks and machines without a network or much memory."""

import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scorecard import Card, Fault

from allmlp.recipe import Recipe
from helpers import picture

pytestmark = pytest.mark.slow
FAULT = Fault(130, "Odd surroundings", "works, or says in one line what it needs; never a traceback")

STRANGER = 54_321
"""A user whom nobody knows, and who has no home."""
HIDDEN = any(not folder.stat().st_mode & 0o001 for folder in Path(os.path.realpath(sys.executable)).parents)
"""Whether others may not run this interpreter, so that only the home is taken away."""
ASCII = {"LC_ALL": "C", "LANG": None, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
PLAIN, ODD = ("cat", "dog"), ('it\'s "a" cat', "do g\nged")
EMOJI = ("猫🐈", "émû")
WALK = """
import datetime, json, os, sys, time
if "BACKWARDS" in os.environ:  # whoever looks at the clock sees it a day earlier than the time before
    looks, wall = iter(range(10**9)), time.time
    time.time = lambda: wall() - 86_400 * next(looks)
    class Backwards(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(time.time(), tz)
    datetime.datetime = Backwards
from allmlp.cli import main
found = []
for words in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        sys.exit(main(words))
    found.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
"""


@dataclass
class Surroundings:
    """What is odd, and what is to happen: "" if all works, else what is said."""

    name: str
    classes: tuple[str, str] = PLAIN
    environment: dict[str, str | None] = field(default_factory=dict)
    stranger: bool = False
    alone: bool = False
    """Without a network."""
    bytes: int = 0
    """Of memory for data (RLIMIT_DATA): heap, stacks, everything written that is no file's."""
    said: str = ""

    def enter(self) -> None:
        """In the process, before it begins."""
        if self.alone and ctypes.CDLL(None).unshare(0x4000_0000):  # CLONE_NEWNET
            raise PermissionError("no network of its own")
        if self.stranger and not HIDDEN:
            os.setgroups([])
            os.setgid(STRANGER)
            os.setuid(STRANGER)
        if self.bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (self.bytes, self.bytes))


NOWHERE = {"HOME": None, "XDG_CACHE_HOME": None, "ALLMLP_HOME": None, "ALLMLP_CACHE": None, "TMPDIR": "/proc"}
BACK: dict[str, str | None] = {"BACKWARDS": "1"}
EVERYTHING = Surroundings(
    "all of these at once",
    ODD,
    {**ASCII, **NOWHERE, **BACK},
    stranger=True,
    alone=True,
    bytes=2**30,
)
ONE_BY_ONE = [
    Surroundings("spaces, quotes, newlines, emoji and bytes that are no UTF-8 in names", (ODD[0] + EMOJI[0], ODD[1])),
    Surroundings("locale C without UTF-8, ASCII class names", ODD, ASCII),
    Surroundings("locale C without UTF-8, class names with emoji", EMOJI, ASCII, said="set PYTHONUTF8=1, or LC_ALL=C.UTF-8"),
    Surroundings("a user without a home, TMPDIR that cannot be written", PLAIN, NOWHERE, stranger=True),
    Surroundings("no network", alone=True),
    Surroundings("1 GiB of memory for data", bytes=2**30),
    Surroundings("a clock that goes back a day at each look", environment=BACK),
]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder in which every user may write."""
    if os.getuid():
        pytest.skip("only root can become another user and leave the network")
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def pictures(folder: Path, classes: tuple[str, ...]) -> None:
    """Ten of each class, with file names as odd as there are."""
    names = [b"caf\xe9.png", "猫🐈.png".encode(), b"sp ace.png", b"q'uo\"te.png", b"new\nline.png", b"-dash.png", b"%00.png"]
    for number, name in enumerate(classes):
        place = os.fsencode(folder / name)
        os.makedirs(place)  # noqa: PTH103 - names that no Path can be made of in other locales
        for which, file in enumerate([*names, b"7.png", b"8.png", b"9.png"]):
            with open(os.path.join(place, file), "wb") as out:  # noqa: PTH118, PTH123
                picture(100 * number + which, (16, 16)).save(out, "PNG")


def walk(folder: Path, around: Surroundings, recipe: Recipe) -> tuple[list[int], str]:
    """Statuses of the commands one after the other, and what was said."""
    data, run, pages, statuses = folder / "my 'data'\n", folder / 'a "run"', folder / "pages of it", folder / "statuses"
    pictures(data, around.classes)
    (folder / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    commands = [
        ["train", str(data), "--recipe", str(folder / "recipe.toml"), "--out", str(run)],
        ["evaluate", str(run)],
        *(["predict", str(run), str(data), *how] for how in ([], ["--json"], ["--csv"])),
        ["explain", str(run), str(data), "--most", "2", "--out", str(pages)],
        ["export", str(run), "--format", "safetensors", "--out", str(folder / "bundle")],
    ]
    environment = {key: value for key, value in os.environ.items() if key not in around.environment}
    environment |= {key: value for key, value in around.environment.items() if value is not None} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WALK, json.dumps(commands), str(statuses)],
        preexec_fn=around.enter,
        env=environment,
        cwd=folder,
        capture_output=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    assert done.returncode == 0, said[-3000:]
    return json.loads(statuses.read_text()), said


def test_every_command_works_or_says_what_it_needs(open_folder: Path, small_recipe: Callable[..., Recipe], card: Card) -> None:
    recipe = small_recipe(train={"epochs": 1}, data={"workers": 1})
    for number, around in enumerate([EVERYTHING, *ONE_BY_ONE[: card.times(len(ONE_BY_ONE), 0)]]):
        folder = open_folder / str(number)
        folder.mkdir()
        folder.chmod(0o777)
        statuses, said = walk(folder, around, recipe)
        assert "Traceback" not in said, (around.name, said[-3000:])
        if around.said:
            assert statuses == [2] * 7
            assert around.said in said
        else:
            assert statuses == [0] * 7, (around.name, statuses, said[-3000:])
        seen = "each works" if not around.said else f"each says it cannot; train: {around.said}"
        card.seen(f"train, evaluate, predict (3 ways), explain, export: {around.name}", len(statuses), seen)


def test_streams_that_nobody_reads(tmp_path: Path, card: Card) -> None:
    place = tmp_path / "pictures"
    pictures(place, PLAIN)
    command = [sys.executable, "-m", "allmlp", "recipes"]
    seen = []
    for which in ((1,), (2,), (0, 1, 2)):
        done = subprocess.run(
            command, preexec_fn=lambda which=which: [os.close(number) for number in which], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b""), done.stderr[-2000:]
        seen.append(done.returncode)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr[-2000:]
    card.seen("stdout, stderr or all three closed; a pipe that nobody reads", len(seen) + 1, "exit 0, nothing on stderr")
