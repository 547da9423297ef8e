"""Which backend and precision an engine has: by the processor's abilities, or by a measurement that is written down."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from allmlp.engine.abilities import abilities
from allmlp.engine.backends.base import CPU
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.device import choose_precision
from allmlp.engine.kept import machine
from allmlp.models.base import ImageModel

AHEAD = 1.1
"""How many times as fast as the usual backend another one must be before it is chosen."""
USUAL = ("torch", "eager", "cuda")
"""Backends that come with torch. Among them the processor's abilities decide; others are measured beside them, once."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for; backend and precision may be "auto"."""

    precision: str
    backend: str
    batch: int
    threads: int
    device: torch.device = CPU
    calibration: str = ""
    """Digest of the images that set int8."""


def request_record(request: Request) -> dict[str, Any]:
    """For the name an engine is kept under, in which the kind of device is named by itself."""
    return {name: value for name, value in asdict(request).items() if name != "device"}


def preferred(seconds: Mapping[str, float]) -> str:
    """The first backend, unless the fastest of the others is clearly faster.

    Args:
        seconds: an image, by backend; the usual backend first.
    """
    usual = next(iter(seconds))
    fastest = min(seconds, key=lambda name: seconds[name])
    return fastest if seconds[usual] >= AHEAD * seconds[fastest] else usual


def question(model: ImageModel, request: Request, precision: str, names: Sequence[str]) -> dict[str, Any]:
    """All that the fastest backend depends on; weights are not among it."""
    about = request_record(request) | {"precision": precision, "device": request.device.type, "backends": list(names)}
    return {
        "fastest engine of": model.name or model.family,
        "model": repr(model.hyperparameters),
        **about,
        **machine(request.device),
    }


def candidates(request: Request, precision: str) -> list[str]:
    """The backends that may be used, the usual one of this processor first.

    Raises EngineError where there is none, with the first reason.
    """
    place = request.device
    if request.backend != "auto":
        names = [request.backend]
    else:
        quick = (
            name for name, b in BACKENDS.items() if b.seconds_to_build and precision in b.precisions and place.type in b.devices
        )
        slow_plans = place.type == "cpu" and not abilities().onednn_avx512
        names = sorted(quick, key=lambda name: name != "eager" if slow_plans else name == "eager")
    reasons = {name: BACKENDS[name].refusal(precision, place) for name in names}
    found = [name for name in names if reasons[name] is None]
    if not found:
        raise next(why for why in reasons.values() if why is not None)
    return found


def precision_of(request: Request, model: ImageModel) -> str:
    """As it was asked for; "auto" is what the processor's abilities and the model's width say."""
    if request.precision == "auto" and request.device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return choose_precision(request.precision, request.device, model)
