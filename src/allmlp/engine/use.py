"""When an answer comes from an engine, and when from the model as it is."""

import warnings
from dataclasses import dataclass

import torch

from allmlp.engine.compiled import Engine, compile  # noqa: A004 - the verb the rest of the world has for it
from allmlp.engine.device import best_device, choose_precision, prepared
from allmlp.engine.graph import Graph
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.weights.finite import refuse_not_finite

ENOUGH = 512
"""Images from which on "auto" builds an engine: timing the candidates for the first time takes about as long as fewer."""
ENOUGH_ON_CUDA = 50_000
"""The same on a GPU, which answers a hundred times as fast, while kernels take as long to make: an estimate, not measured."""


def engine_for(
    model: ImageModel, wanted: str, *, images: int, batch: int, device: torch.device, precision: str, quiet: bool = True
) -> Engine | None:
    """The engine with which so many images are to be answered; None for the model as it is.

    wanted: "eager", a backend of `allmlp.compile`, or "auto": for many images the fastest one. Where a GPU will have none,
    "auto" warns, and the model answers as it is.
    Raises EngineError for a backend that is not to be had here.
    """
    enough = ENOUGH if device.type == "cpu" else ENOUGH_ON_CUDA
    if wanted == "eager" or (wanted == "auto" and images < enough):
        return None
    try:
        size = max(min(batch, images), 1)
        return compile(model, backend=wanted, precision=precision, batch=size, device=device, quiet=quiet)
    except EngineError as error:
        if wanted != "auto" or device.type == "cpu":
            raise
        warnings.warn(f"no engine could be built for {device}, the model answers as it is: {error.what}", stacklevel=2)
        return None


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

    Raises as that does, WeightsError for weights that are not finite, and EngineError for a graph that is to be run by another
    engine.
    """
    if isinstance(model, Graph):
        if wanted != "auto":
            raise EngineError(
                f"engine {wanted} is for models, and a bundle of format {model.format} is a graph", hint="leave it out"
            )
        said = f"{model.format} bundle {model.precision}"
        return Ready(device=torch.device("cpu"), precision=model.precision, engine=None, described=said)
    refuse_not_finite(model.state_dict(), model.name or model.family)
    device = best_device()
    prepared(model, device)
    precision = choose_precision("auto", device, model)
    engine = engine_for(model, wanted, images=images, batch=batch, device=device, precision=precision, quiet=quiet)
    return Ready(device=device, precision=precision, engine=engine, described=described(engine, precision))


def described(engine: Engine | None, precision: str) -> str:
    """For records: backend and precision."""
    return f"eager {precision}" if engine is None else f"{engine.backend} {engine.precision}"
