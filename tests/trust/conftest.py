"""Every test here reports to the scorecard, whether it held or not."""

import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import torch
from apart import Apart
from PIL import Image
from scorecard import Card, Seen, write

from allmlp.run import write_model
from contract import awake, build
from servers import process, weights  # noqa: F401  (fixtures)

CARDS = pytest.StashKey[Card]()


@pytest.fixture
def card(request: pytest.FixtureRequest) -> Card:
    """The card of this file's fault."""
    made = Card(request.module.FAULT)
    request.node.stash[CARDS] = made
    return made


@pytest.fixture(scope="session")
def stripes(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pictures too large to be held in memory, so that processes prepare them where a recipe asks for some."""
    folder = tmp_path_factory.mktemp("large-stripes")
    for path in sorted(stripes.glob("*/*.png")):
        (folder / path.parent.name).mkdir(exist_ok=True)
        Image.open(path).resize((80, 72), Image.Resampling.NEAREST).save(folder / path.parent.name / path.name)
    return folder


@pytest.fixture(scope="session")
def apart() -> Iterator[Apart]:
    """The command line, each call in a process of its own."""
    calls = Apart()
    yield calls
    calls.close()


@pytest.fixture(scope="session")
def five_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ResMLP of five classes, with its description."""
    torch.manual_seed(0)
    model = awake(build("resmlp_xs")).eval()
    model.classes = ("ant", "bee", "cat", "dog", "eel")
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    write_model(path, model.state_dict(), model.card())
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    made = item.stash.get(CARDS, None)
    if made is not None and report.when == "call" and not report.skipped:
        test = item.nodeid.partition("tests/trust/")[2] or item.nodeid
        lines = (
            made.lines
            if report.passed
            else [(_said(item.name), 1, f"**did not hold**: {call.excinfo and call.excinfo.exconly()[:200]}")]
        )
        seen = [Seen(test, made.fault, how, times, what, report.passed, round(call.duration, 1)) for how, times, what in lines]
        write(seen, re.sub(r"[^A-Za-z0-9_.-]", "_", test))
    return report


def _said(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")
