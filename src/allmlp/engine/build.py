"""Candidates are built, compared with the model, timed; the fastest that agrees is kept."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.data.progress import watched
from allmlp.engine.backends.base import CPU, Backend, Runner, Wanted
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.calibrate import seconds_per_image
from allmlp.engine.device import BF16_GAIN, FASTER, bf16_gain
from allmlp.engine.kept import content_hash, folder_of, keep, read_kept, workshop
from allmlp.engine.parity import ALLOWED, Parity, in_float32, in_parts, parity, probes
from allmlp.engine.quantise import Calibration
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel

Candidate = tuple[str, str]
"""Backend, precision."""


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


@dataclass(frozen=True, kw_only=True)
class Built:
    """What it came to."""

    backend: str
    precision: str
    run: Runner
    parity: Parity
    seconds: dict[str, float]
    """An image, of every candidate that was timed: "backend precision" → seconds."""
    from_disk: bool = False


def built(model: ImageModel, request: Request, *, shown: Calibration | None = None, kept: bool, quiet: bool) -> Built:
    """As the disk has it, else anew. shown: for int8. kept: whether the disk is looked at and written to at all."""
    folder = folder_of(content_hash(model, request_record(request), request.device))
    card = read_kept(folder) if kept else None
    if card is not None and (found := _again(model, request, shown, card, folder)) is not None:
        return found
    made = workshop(folder)
    try:
        found = _chosen(model, request, shown, made, quiet=quiet)
        if kept:
            facts = dict(backend=found.backend, precision=found.precision, parity=asdict(found.parity), seconds=found.seconds)
            keep(folder, made / found.backend, facts)
        return found
    finally:
        shutil.rmtree(made, ignore_errors=True)


def request_record(request: Request) -> dict[str, Any]:
    """For the name an engine is kept under, in which the kind of device is named by itself."""
    return {name: value for name, value in asdict(request).items() if name != "device"}


def _again(model: ImageModel, request: Request, shown: Calibration | None, card: dict[str, Any], folder: Path) -> Built | None:
    """The engine that the disk remembers; None where it cannot be built as it was, and then it is forgotten."""
    try:
        backend, precision = BACKENDS[card["backend"]], card["precision"]
        if backend.refusal(precision, request.device) is not None:
            return None
        run = _made(backend, model, _wanted(request, precision, shown), folder)
        found = Parity(**card["parity"])
        if request.device.type == "cuda":  # where kernels are chosen anew each time
            found = _compared(backend.name, precision, run, *_reference(model, request, shown), request.batch, shown)
        return Built(
            backend=backend.name, precision=precision, run=run, parity=found, seconds=dict(card["seconds"]), from_disk=True
        )
    except (EngineError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _reference(model: ImageModel, request: Request, shown: Calibration | None) -> tuple[Tensor, Tensor]:  # b c h w, b k
    """Images where the engine will be, and what it has to answer."""
    given = probes(model) if shown is None else shown.compared
    due = in_float32(model, given, request.batch)
    if not due.isfinite().all():
        raise EngineError(
            f"the logits of {model.name or model.family} are not finite on the images an engine is compared on",
            hint="its weights are too large to compute with: take an earlier checkpoint of that training",
        )
    return given.to(request.device), due


def _chosen(model: ImageModel, request: Request, shown: Calibration | None, made: Path, *, quiet: bool) -> Built:
    given, due = _reference(model, request, shown)
    runs: dict[Candidate, Runner] = {}
    found: dict[Candidate, Parity] = {}
    failures: list[EngineError] = []
    candidates = _candidates(request)
    for name, precision in watched(candidates, total=len(candidates), what="preparing the engine", quiet=quiet):
        try:
            run = _made(BACKENDS[name], model, _wanted(request, precision, shown), made / name)
            found[name, precision] = _compared(name, precision, run, given, due, request.batch, shown)
            runs[name, precision] = run
        except EngineError as error:
            failures.append(error)
    if not runs:
        raise failures[0]
    seconds = seconds_per_image(runs, given, request.batch, threads=request.threads) if len(runs) > 1 else {}
    best = fastest(seconds) if seconds else next(iter(runs))
    said = {" ".join(candidate): value for candidate, value in seconds.items()}
    return Built(backend=best[0], precision=best[1], run=runs[best], parity=found[best], seconds=said)


def _candidates(request: Request) -> Sequence[Candidate]:
    """All that may be tried. Raises EngineError where nothing may, with the first reason."""
    found, reasons = [], []
    place = request.device
    for precision in _precisions(request.precision, place):
        quick = [
            name
            for name, backend in BACKENDS.items()
            if backend.seconds_to_build and precision in backend.precisions and place.type in backend.devices
        ]
        for name in quick if request.backend == "auto" else [request.backend]:
            why = BACKENDS[name].refusal(precision, place)
            found += [(name, precision)] if why is None else []
            reasons += [] if why is None else [why]
    if not found:
        raise reasons[0]
    return found


def _precisions(wanted: str, device: torch.device) -> tuple[str, ...]:
    if wanted != "auto":
        return (wanted,)
    if device.type == "cuda":
        return ("bf16",) if torch.cuda.is_bf16_supported(including_emulation=False) else ("fp32",)
    return ("fp32", "bf16") if bf16_gain() >= BF16_GAIN else ("fp32",)


def fastest(seconds: dict[Candidate, float]) -> Candidate:
    """The one with the least seconds, in bf16 only where that is clearly faster than all in float32."""
    worth = {candidate: value * (FASTER if candidate[1] == "bf16" else 1) for candidate, value in seconds.items()}
    return min(worth, key=lambda candidate: worth[candidate])


def _wanted(request: Request, precision: str, shown: Calibration | None) -> Wanted:
    setting = None if shown is None else shown.setting
    return Wanted(precision=precision, batch=request.batch, threads=request.threads, device=request.device, setting=setting)


def _made(backend: Backend, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
    """Raises EngineError for whatever the backend's library raises."""
    folder.mkdir(exist_ok=True)
    try:
        return backend.build(model, wanted, folder)
    except EngineError:
        raise
    except Exception as error:  # libraries raise whatever they stumble over
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise EngineError(
            f"engine {backend.name} cannot build {model.name or model.family}: {why}",
            hint='use engine "eager"' + (', or "torch"' if wanted.device.type == "cpu" else ""),
        ) from error


def _compared(
    name: str, precision: str, run: Runner, given: Tensor, due: Tensor, batch: int, shown: Calibration | None
) -> Parity:
    """Raises EngineError for answers that are not the model's."""
    try:
        got = answers(run, given, batch).to(due.device)
        found = parity(due, got)
    except Exception as error:
        raise EngineError(
            f"engine {name} {precision} fails as it runs: {str(error)[:300]}", hint='use engine "eager"'
        ) from error
    if not math.isfinite(found.deviation):
        raise EngineError(f"the logits of engine {name} {precision} are not finite", hint='use engine "eager"')
    if shown is not None:
        shown.refuse_loss(points := shown.points_lost(due, got))
        return replace(found, points_lost=points)
    if found.deviation > ALLOWED[precision]:
        raise EngineError(
            f"engine {name} {precision} is off by {found.deviation:.1e}; rounding explains {ALLOWED[precision]:.0e}",
            hint='use engine "eager"',
        )
    return found


def answers(run: Runner, given: Tensor, batch: int) -> Tensor:  # b c h w → b k
    """A batch at a time, as it will be used. On a GPU the first image goes alone: it has a graph of its own."""
    if given.device.type == "cpu":
        return in_parts(run, given, batch)
    return torch.cat([in_parts(run, given[:1], 1), in_parts(run, given[1:], batch)])
