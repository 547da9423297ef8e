"""When an answer comes from an engine, and when from the model as it is."""

import torch

from allmlp.engine.compiled import Engine, compile  # noqa: A004 - the verb the rest of the world has for it
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel

ENOUGH = 512
"""Images from which on "auto" builds an engine: timing the candidates for the first time takes about as long as fewer."""


def engine_for(
    model: ImageModel, wanted: str, *, images: int, batch: int, device: torch.device, precision: str, quiet: bool = True
) -> Engine | None:
    """The engine with which so many images are to be answered; None for the model as it is.

    wanted: "eager", a backend of `allmlp.compile`, or "auto": for many images on a CPU, the fastest one.
    Raises EngineError for a backend that is not to be had here.
    """
    if wanted == "eager" or (wanted == "auto" and (images < ENOUGH or device.type != "cpu")):
        return None
    if device.type != "cpu":
        raise EngineError(f"engine {wanted} is for CPUs, and answers come from {device.type} here", mend='use engine "eager"')
    return compile(model, backend=wanted, precision=precision, batch=max(min(batch, images), 1), quiet=quiet)


def described(engine: Engine | None, precision: str) -> str:
    """For records: backend and precision."""
    return f"eager {precision}" if engine is None else f"{engine.backend} {engine.precision}"
