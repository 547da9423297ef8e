"""What in a picture speaks for a class, for a client."""

# axes: c channels, h w pixels

import base64
import io
from typing import Any

from PIL import Image
from torch import Tensor

from allmlp.errors import one_of
from allmlp.explanation.evidence import step_evidence
from allmlp.explanation.pictures import seen
from allmlp.explanation.receptive import step_names
from allmlp.serving.refused import Refused
from allmlp.serving.served import Served

BEST = "best"
"""The picture's most probable class."""


def check_class(served: Served, wanted: str | None) -> None:
    """Raises Refused for a class that the model does not have, and for a graph, which cannot be looked into."""
    if wanted is not None and served.network is None:
        raise Refused(422, "an exported graph shows no evidence", hint="leave evidence out, or serve the run it was made from")
    if wanted is not None and wanted != BEST and wanted not in served.classes:
        hint = f'{one_of(served.classes, wanted[:100])}; or "{BEST}"'
        raise Refused(422, f"there is no class {wanted[:100]!r}", hint=hint)


def evidence_of(served: Served, image: Tensor, name: str) -> dict[str, Any]:  # c h w
    """For JSON; see `schema.Evidence`."""
    network = served.network
    assert network is not None  # check_class
    image = image.to(served.how.device)
    found = step_evidence(network, image, served.classes.index(name))
    if not all(values.isfinite().all() for values in found):
        raise Refused(422, "what speaks for the class is not finite in this image", hint="leave evidence out")
    steps = [
        {"step": step, "values": [[float(f"{value:.4g}") for value in row] for row in values.tolist()]}
        for step, values in zip(step_names(network), found, strict=True)
    ]
    file = io.BytesIO()
    Image.fromarray(seen(network, image)).save(file, "PNG")
    return {"name": name, "steps": steps, "seen": "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()}
