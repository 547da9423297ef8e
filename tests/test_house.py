"""The house: small files, rooms that say what they are for, and nothing private in what is published."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import allmlp
from allmlp import errors
from allmlp.errors import AllmlpError

ROOT = Path(__file__).parent.parent
SOURCE = Path(allmlp.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
WRITTEN = sorted(p for p in SOURCE.rglob("*") if p.suffix in {".py", ".j2", ".css", ".js", ".toml", ".html"})


def tracked() -> list[Path]:
    """What is published: the files git tracks, or where there is no git, those that would be."""
    if shutil.which("git") and (ROOT / ".git").exists():
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    parts = ("src", "tests", "docs", "examples", "scripts", "locks")
    return [p for part in parts for p in (ROOT / part).rglob("*") if p.is_file() and "__pycache__" not in p.parts]


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_no_file_passes_400_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring
    assert len(docstring.splitlines()[0]) > 10


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=name_of)
def test_every_room_is_a_package_of_its_own(folder: Path) -> None:
    assert (folder / "__init__.py").is_file()


IMPORT_EACH = """
import importlib, json, os, sys
import matplotlib.pyplot, timm, torch, torchvision, tyro  # what many of them share is loaded once

class Timm:
    # importing timm makes our models known, so each module has to meet it as if for the first time
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "timm"}
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if name in self.loaded else None
    def create_module(self, spec):
        return self.loaded[spec.name]
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Timm())
for name in json.loads(sys.argv[1]):
    if os.fork():
        if os.wait()[1]:
            print(name, flush=True)
        continue
    importlib.import_module(name)
    os._exit(0)
"""


@pytest.mark.slow
def test_every_module_can_be_the_first_to_be_imported() -> None:
    parts = [p.relative_to(SOURCE.parent).with_suffix("").parts for p in MODULES if p.name not in {"__main__.py"}]
    names = [".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts]
    if find_spec("triton") is None:  # which has no wheel for some systems: kernels are then never imported
        names = [name for name in names if not name.startswith("allmlp.engine.kernels.")]
    command = [sys.executable, "-c", IMPORT_EACH, json.dumps(names)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=True)
    assert done.stdout.split() == [], done.stderr


def exceptions() -> list[type[BaseException]]:
    return [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, BaseException)]


def test_there_is_one_tree_of_errors_and_each_says_when_it_is_raised() -> None:
    assert all(issubclass(kind, AllmlpError) and kind.__doc__ for kind in exceptions())
    assert len(exceptions()) > 5


@pytest.mark.parametrize("kind", exceptions(), ids=lambda k: k.__name__)
def test_an_error_says_what_is_wrong_and_how_to_fix_it(kind: type[AllmlpError]) -> None:
    assert str(kind("it broke", hint="glue it")) == "it broke\n  hint: glue it"
    assert str(kind("it broke")) == "it broke"


# hosts that packages, models and images are fetched from, and options that name such hosts
HOSTS = re.compile(
    r"(?:extra-|--|\b)index[-_]url\b|find[-_]links|trusted[-_]host"
    r"|https?://[^\s/\"'>]*(?:pypi|python[h]osted|artifactory|nexus|jfrog|registry|mirror|proxy)[^\s/\"'>]*"
)
PRIVATE = re.compile(r"(?<![\w.~$}:/-])/(?:home|Users|root|work)/\w+")


def test_the_patterns_know_what_they_look_for() -> None:
    assert HOSTS.search("index-" + "url = x")
    assert HOSTS.search("https:" + "//registry.example.org/simple")
    assert not HOSTS.search("https://arxiv.org/abs/2105.03404")
    assert PRIVATE.search("open('" + "/home" + "/me/data')")
    assert not PRIVATE.search("https://example.org/home/page and runs/work/mine")


def test_nothing_published_names_a_registry_or_a_private_path() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures, arrays
        for pattern in (HOSTS, PRIVATE):
            found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in pattern.finditer(text)]
    assert found == []
    assert len(tracked()) > 50
