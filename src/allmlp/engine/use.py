"""When an answer comes from an engine, and when from the model as it is."""

from dataclasses import dataclass

import torch

from allmlp.engine.compiled import Engine, compile  # noqa: A004 - the verb the rest of the world has for it
from allmlp.engine.device import best_device, choose_precision, prepared
from allmlp.engine.graph import Graph
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


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Something that answers, where it answers, and in what precision."""

    device: torch.device
    precision: str
    engine: Engine | None
    described: str
    """For records: backend and precision."""


def ready(model: ImageModel | Graph, wanted: str, *, images: int, batch: int, quiet: bool = True) -> Ready:
    """A model put on its device, in place, with the engine `engine_for` chooses; or a graph, which is its own engine.

    Raises as that does, and EngineError for a graph that is to be run by another engine.
    """
    if isinstance(model, Graph):
        if wanted != "auto":
            raise EngineError(
                f"engine {wanted} is for models, and a bundle of format {model.format} is a graph", mend="leave it out"
            )
        said = f"{model.format} bundle {model.precision}"
        return Ready(device=torch.device("cpu"), precision=model.precision, engine=None, described=said)
    device = best_device()
    prepared(model, device)
    precision = choose_precision("auto", device, model)
    engine = engine_for(model, wanted, images=images, batch=batch, device=device, precision=precision, quiet=quiet)
    return Ready(device=device, precision=precision, engine=engine, described=described(engine, precision))


def described(engine: Engine | None, precision: str) -> str:
    """For records: backend and precision."""
    return f"eager {precision}" if engine is None else f"{engine.backend} {engine.precision}"
