"""A small model that is served, in this process and in one of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from servers import process, weights  # noqa: F401  (fixtures)

if TYPE_CHECKING:  # each file of tests skips itself where allmlp[serve] is not installed, and this one is read before
    from allmlp.serving.app import Server


@pytest.fixture
def server_of(weights: Path) -> Callable[..., "Server"]:  # noqa: F811
    """server_of(images=3) → a server with these limits."""
    from allmlp.serving.app import Server
    from allmlp.serving.limits import Limits
    from allmlp.serving.served import Source

    def make(*, key: str | None = None, source: dict[str, Any] | None = None, **limits: Any) -> "Server":
        words: dict[str, Any] = {"run": str(weights), "engine": "eager", "batch": 8, **(source or {})}
        return Server(Source(**words), limits=Limits(**limits), key=key)

    return make
