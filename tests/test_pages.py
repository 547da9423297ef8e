"""What glibc is told, by what the system counts in a process of its own."""

import os
import subprocess
import sys

import pytest

from allmlp import pages

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


def counted(**settings: str) -> tuple[int, int]:
    """(MiB that went back to the system of 50 that were freed, page faults of 4 MiB taken once more)."""
    usual = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES" and not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", COUNTED]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=usual | settings)
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
