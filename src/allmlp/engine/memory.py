"""How much memory a call takes, and how much there is."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")
STATUS = Path("/proc/self/status")


def tensor_bytes(tensors: Iterable[Tensor]) -> int:
    """What the tensors hold."""
    return sum(t.numel() * t.element_size() for t in tensors)


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most that torch's allocator held for `call` at one moment, beyond what it held before.

    On a CPU the sum of the allocator's own record of each allocation and release, which is what
    `torch.cuda.max_memory_allocated` keeps for a GPU: tensors and the workspaces that torch asks for, but not what a
    library takes from the system by itself, nor what fragmentation adds. The same call gives the same number.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or its first use chats on stderr
    with torch.profiler.profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def free_bytes() -> int | None:
    """What this process may still take before the system ends it; None where the system does not say (not Linux)."""
    known = [size for size in (_free_of_machine(), _free_of_container()) if size is not None]
    return min(known, default=None)


def _free_of_machine() -> int | None:
    lines = _numbers(MEMINFO)
    return None if "MemAvailable:" not in lines else 1024 * lines["MemAvailable:"]


def _free_of_container() -> int | None:
    """The limit of a control group (version 2), less what is used, not counting files that can be dropped."""
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
    return limit - used + _numbers(CGROUP / "memory.stat").get("inactive_file", 0)


def _numbers(file: Path) -> dict[str, int]:
    """Lines of "name number ..."."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}


def give_back() -> None:
    """What was freed goes back to the system, where the C library (glibc), or torch on a GPU, would keep it for later."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # other C libraries have no such function
            ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """The most that this process has held in memory so far, by the system's count; 0 where it does not say."""
    most = _numbers(STATUS).get("VmHWM:")
    if most is not None:
        return 1024 * most
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS, which has no VmHWM
