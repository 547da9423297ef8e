"""What a person sees while training."""

import shutil
import sys
from pathlib import Path

import pytest

from allmlp.run import Run
from allmlp.training.display import clock, counted, next_commands


def test_one_thing_has_no_plural() -> None:
    assert [counted(n, "step") for n in (0, 1, 2, 1200)] == ["0 steps", "1 step", "2 steps", "1,200 steps"]


def test_seconds_become_minutes_and_hours() -> None:
    assert [clock(s) for s in (0, 75, 3599.6, 3661)] == ["0:00", "1:15", "1:00:00", "1:01:01"]


@pytest.mark.parametrize(
    ("called", "found", "shown"),
    [
        (".venv/bin/allmlp", None, ".venv/bin/allmlp predict"),
        (".venv/bin/allmlp", "/usr/bin/allmlp", "allmlp predict"),
        ("/lib/pytest/__main__.py", None, "allmlp predict"),
    ],
    ids=["by its path", "by its name", "from Python"],
)
def test_commands_that_are_shown_can_be_typed_as_they_are(
    called: str, found: str | None, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "train"])
    monkeypatch.setattr(shutil, "which", lambda _name: found)
    assert next_commands(Run(Path("runs/mine")))[0].startswith(f"{shown} runs/mine PICTURE")
