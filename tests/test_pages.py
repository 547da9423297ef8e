"""What glibc is told, by what the system counts in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import allmlp
from allmlp import pages
from allmlp.training import loop
from allmlp.training.step import update

COUNTED = """
import resource, torch
from pathlib import Path
from allmlp.pages import own_pages

def held():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))

def faults(call):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.empty(30 * 2**20, dtype=torch.uint8).fill_(1)  # glibc keeps freed blocks up to this size for later from here on
with own_pages():
    blocks = [torch.ones(2**18) for _ in range(100)]
    full = held()
    blocks = blocks[::2]
    print((full - held()) // 1024)
again = lambda: torch.ones(2**20)
again()
print(faults(again))
"""


def as_it_comes() -> dict[str, str]:
    """The environment without what somebody told glibc."""
    return {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")}


def counted(**settings: str) -> tuple[int, int]:
    """(MiB that went back to the system of 50 that were freed, page faults of 4 MiB taken once more)."""
    command = [sys.executable, "-c", COUNTED]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=as_it_comes() | settings)
    freed, faults = done.stdout.split()
    return int(freed), int(faults)


@pytest.mark.skipif(pages._mallopt() is None, reason="needs glibc, as it comes")
def test_what_is_freed_inside_goes_back_and_what_is_freed_afterwards_is_used_again() -> None:
    freed, faults = counted()
    assert freed >= 45
    assert faults < 100  # of 1,024 pages


@pytest.mark.skipif(pages._mallopt() is None, reason="needs glibc, as it comes")
@pytest.mark.parametrize("tunable", [False, True], ids=["environment", "tunables"])
def test_what_the_user_has_set_stays_as_it_is(tunable: bool) -> None:
    """Blocks of up to 8 MiB from the heap: nothing goes back from between others."""
    size = str(8 * 2**20)
    setting = {"GLIBC_TUNABLES": f"glibc.malloc.mmap_threshold={size}"} if tunable else {"MALLOC_MMAP_THRESHOLD_": size}
    freed, _ = counted(**setting)
    assert freed < 5


KEPT = """
import resource, torch
from pathlib import Path
from allmlp.pages import own_pages, pages_kept

def held():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))

def step():
    return [torch.ones(n * 2**18) for n in (20, 30, 10, 25, 30)]  # of as many MiB

def faults(call):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

step()
with pages_kept(), own_pages():
    for _ in range(3):  # small things may lie between the blocks of the first
        step()
    print(faults(step))
    full = held()
print((full - held()) // 1024)
block = torch.ones(2**28)  # a GiB
full = held()
del block
print((full - held()) // 1024)
"""


@pytest.mark.skipif(pages._mallopt() is None, reason="needs glibc, as it comes")
def test_a_step_takes_the_pages_of_the_step_before_and_all_go_back_at_the_end() -> None:
    """115 MiB a step: 29,440 pages of 4 KiB."""
    done = subprocess.run([sys.executable, "-c", KEPT], check=True, capture_output=True, text=True, env=as_it_comes())
    inside, back, after = map(int, done.stdout.split())
    assert inside < 1000
    assert back >= 90
    assert after >= 1000  # the settings are the usual ones again


@pytest.mark.skipif(pages._mallopt() is None, reason="needs glibc, as it comes")
def test_training_keeps_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(loop, "update", lambda *given, **named: kept.append(pages._keeping) or update(*given, **named))
    allmlp.train(recipe="demo", out=tmp_path / "run", quiet=True, train={"limit": 64, "epochs": 1})
    assert set(kept) == {1}
    assert pages._keeping == 0
