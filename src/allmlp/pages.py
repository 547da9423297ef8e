"""What becomes of memory that is freed: pages of their own for weights, and pages that stay for training."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's numbers of its settings (malloc.h)."""
OWN_PAGES, USUAL = 128 * 2**10, 32 * 2**20
"""From how many bytes on a block gets pages of its own: inside `own_pages`, and where glibc's own adjustment ends up."""
LARGE = 2**31 - 1
"""How much glibc may keep free at the end of its heap inside `pages_kept`, in bytes."""

_lock = Lock()
_keeping = 0
"""How many are inside `pages_kept` now: the settings are the process's."""


@contextmanager
def own_pages() -> Iterator[None]:
    """Large blocks taken inside get pages of their own, which go back to the system once the block is freed.

    For weights, and for laying them out: else what stays lies among the copies that it was made of, and what is computed
    later spreads over the holes (docs/decisions/0008). Afterwards large blocks are cut from freed ones again, without page
    faults. Nothing happens inside `pages_kept`, where the C library is not glibc, or where the user has set either threshold.
    """
    with _lock:
        set_option = _mallopt()
        chosen = set_option is not None and not _keeping
        if chosen:
            set_option(MMAP_THRESHOLD, OWN_PAGES)
    try:
        yield
    finally:
        with _lock:
            if chosen and not _keeping:
                _as_usual(set_option)


@contextmanager
def pages_kept() -> Iterator[None]:
    """What is freed inside stays with the process: blocks of up to 32 MiB, 2 GiB in all.

    For training: a step takes the same blocks as the step before, and glibc, which gives the end of its heap back whenever it
    has grown to 64 MiB, would have the system clear them anew (docs/decisions/0010). At the end all of it goes back.
    Nothing happens where the C library is not glibc, or where the user has set either threshold.
    """
    global _keeping
    set_option = _mallopt()
    if set_option is None:
        yield
        return
    with _lock:
        _keeping += 1
        set_option(MMAP_THRESHOLD, USUAL)  # larger ones from the heap would leave holes that none fits into
        set_option(TRIM_THRESHOLD, LARGE)
    try:
        yield
    finally:
        with _lock:
            _keeping -= 1
            if not _keeping:
                _as_usual(set_option)
                ctypes.CDLL(None).malloc_trim(0)


def _as_usual(set_option: Any) -> None:
    set_option(MMAP_THRESHOLD, USUAL)
    set_option(TRIM_THRESHOLD, 2 * USUAL)


@lru_cache
def _mallopt() -> Any:
    """glibc's function, or None."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    names = ("MMAP_THRESHOLD", "TRIM_THRESHOLD")
    users = any(f"MALLOC_{name}_" in os.environ or f"malloc.{name.lower()}" in tunables for name in names)
    if sys.platform != "linux" or users:
        return None
    library = ctypes.CDLL(None)
    return library.mallopt if hasattr(library, "gnu_get_libc_version") else None
