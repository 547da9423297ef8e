"""The page at / and the one at /docs: each is one file, and loads nothing from elsewhere."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from allmlp.engine.cost import parameters
from allmlp.reporting.template import render
from allmlp.serving.served import Served

ROOM = "allmlp.serving"
SCRIPT = files(ROOM).joinpath("page.js").read_text(encoding="utf-8")
_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; connect-src 'self'; "
    f"script-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def page_of(served: Served, *, asks_key: bool) -> str:
    """The page to try a model on."""
    height, width = served.model.img_size
    return render(
        "page.html.j2",
        room=ROOM,
        name=served.name,
        parameters=None if served.network is None else parameters(served.network),
        evidence=served.network is not None,
        size=f"{width} × {height}",
        classes=len(served.classes),
        asks_key=asks_key,
        script=Markup(SCRIPT),
    )


def docs_of(openapi: dict[str, Any]) -> str:
    """What programs may ask, read off the OpenAPI document."""
    calls = [
        {"path": path, "method": method.upper(), **what}
        for path, methods in openapi["paths"].items()
        for method, what in methods.items()
    ]
    return render(
        "docs.html.j2", room=ROOM, calls=calls, schemas=openapi["components"]["schemas"], version=openapi["info"]["version"]
    )
