"""The token-mixing maps of the model that is served."""

from typing import Any

from allmlp.errors import ModelError
from allmlp.explanation.arrange import common_limit, panels
from allmlp.models.base import ImageModel
from allmlp.operators import token_mixing
from allmlp.reporting import maps
from allmlp.reporting.ink import inline_svg


def mixing_of(model: ImageModel | None) -> dict[str, Any]:
    """For JSON; see `schema.Mixing`."""
    if model is None:
        return {"without": "an exported graph cannot be looked into", "scale": "", "panels": []}
    try:
        shown = panels(token_mixing(model))
    except ModelError as error:
        return {"without": error.what, "scale": "", "panels": []}
    limit = common_limit(shown)
    scale = inline_svg(maps.colour_scale(limit=limit), "scale", f"Colours from −{limit:.2g} to {limit:.2g}")
    return {"without": None, "scale": scale, "panels": maps.inline_panels(shown, "map", limit)}
