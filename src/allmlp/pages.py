"""Where weights lie in memory: on pages of their own."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""glibc's numbers of its settings (malloc.h)."""
OWN_PAGES, USUAL = 128 * 2**10, 32 * 2**20
"""From how many bytes on a block gets pages of its own: inside `own_pages`, and where glibc's own adjustment ends up."""


@contextmanager
def own_pages() -> Iterator[None]:
    """Large blocks taken inside get pages of their own, which go back to the system once the block is freed.

    For weights, and for laying them out: else what stays lies among the copies that it was made of, and what is computed
    later spreads over the holes (docs/decisions/0008). Afterwards large blocks are cut from freed ones again, without page
    faults. Nothing happens where the C library is not glibc, or where the user has set either threshold.
    """
    set_option = _mallopt()
    if set_option is None:
        yield
        return
    set_option(MMAP_THRESHOLD, OWN_PAGES)
    try:
        yield
    finally:
        set_option(MMAP_THRESHOLD, USUAL)
        set_option(TRIM_THRESHOLD, 2 * USUAL)


@lru_cache
def _mallopt() -> Any:
    """glibc's function, or None."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    users = any(
        f"MALLOC_{name}_THRESHOLD_" in os.environ or f"{name.lower()}_threshold" in tunables for name in ("MMAP", "TRIM")
    )
    if sys.platform != "linux" or users:
        return None
    library = ctypes.CDLL(None)
    return library.mallopt if hasattr(library, "gnu_get_libc_version") else None
