"""The way of running a model that suits this machine: by the processor's abilities, or by a measurement made once."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.data.progress import watched
from allmlp.engine.backends.base import Backend, Runner, Wanted
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.calibrate import seconds_per_image
from allmlp.engine.choice import USUAL, Request, candidates, precision_of, preferred, question, request_record
from allmlp.engine.decisions import Decision, decided
from allmlp.engine.kept import content_hash, folder_of, keep, read_kept, workshop
from allmlp.engine.parity import ALLOWED, Parity, in_float32, in_parts, parity, probes
from allmlp.engine.quantise import Calibration
from allmlp.errors import EngineError
from allmlp.models.base import ImageModel


@dataclass(frozen=True, kw_only=True)
class Built:
    """What it came to."""

    backend: str
    precision: str
    run: Runner
    parity: Parity
    seconds: dict[str, float]
    """Seconds an image of every backend that was measured when the choice was made: "backend precision" → seconds."""
    from_disk: bool = False


def built(model: ImageModel, request: Request, *, shown: Calibration | None = None, kept: bool, quiet: bool) -> Built:
    """As the disk has it, else anew. shown: for int8. kept: whether the disk is looked at and written to at all."""
    folder = folder_of(content_hash(model, request_record(request), request.device))
    card = read_kept(folder) if kept else None
    if card is not None and (found := _again(model, request, shown, card, folder)) is not None:
        return found
    made = workshop(folder)
    try:
        found = _chosen(model, request, shown, made, kept=kept, quiet=quiet)
        if kept:
            facts = dict(backend=found.backend, precision=found.precision, parity=asdict(found.parity), seconds=found.seconds)
            keep(folder, made / found.backend, facts)
        return found
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _again(model: ImageModel, request: Request, shown: Calibration | None, card: dict[str, Any], folder: Path) -> Built | None:
    """The engine that the disk remembers; None where it cannot be built as it was, and then it is forgotten."""
    try:
        backend, precision = BACKENDS[card["backend"]], card["precision"]
        if backend.refusal(precision, request.device) is not None:
            return None
        run = _made(backend, model, _wanted(request, precision, shown), folder)
        found = Parity(**card["parity"])
        if request.device.type == "cuda":  # whose driver and kernels may be others now
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
    return given.to(request.device), in_float32(model, given, request.batch)


def _chosen(model: ImageModel, request: Request, shown: Calibration | None, made: Path, *, kept: bool, quiet: bool) -> Built:
    """The first backend, in the order of choice, that builds and agrees with the model. kept: whether it may be measured."""
    precision = precision_of(request, model)
    names = candidates(request, precision)
    tried = _Tried(model, request, shown, precision, made)
    seconds: dict[str, float] = {}
    if kept and set(names) - set(USUAL) and len(names) > 1:
        asked = question(model, request, precision, names)
        decision = decided(asked, lambda: tried.measured(names, quiet=quiet))
        if decision is not None and decision["chosen"] in names:
            names = [decision["chosen"], *(name for name in names if name != decision["chosen"])]
            seconds = dict(decision["seconds"])
    for name in names:
        if tried.run(name) is not None:
            return Built(backend=name, precision=precision, run=tried.runs[name], parity=tried.parities[name], seconds=seconds)
    raise next(iter(tried.failures.values()))


class _Tried:
    """Backends that were built and compared with the model, each once."""

    def __init__(self, model: ImageModel, request: Request, shown: Calibration | None, precision: str, made: Path) -> None:
        self.model, self.request, self.shown, self.precision, self.made = model, request, shown, precision, made
        self.images, self.due = _reference(model, request, shown)
        self.runs: dict[str, Runner] = {}
        self.parities: dict[str, Parity] = {}
        self.failures: dict[str, EngineError] = {}

    def run(self, name: str) -> Runner | None:
        """None where it cannot be built, or does not compute what the model does."""
        if name not in self.runs and name not in self.failures:
            wanted = _wanted(self.request, self.precision, self.shown)
            try:
                run = _made(BACKENDS[name], self.model, wanted, self.made / name)
                found = _compared(name, self.precision, run, self.images, self.due, self.request.batch, self.shown)
            except EngineError as error:
                self.failures[name] = error
            else:
                self.runs[name], self.parities[name] = run, found
        return self.runs.get(name)

    def measured(self, names: Sequence[str], *, quiet: bool) -> Decision:
        """All that run take turns; the usual one stays unless another is clearly faster. Raises EngineError where none runs."""
        for name in watched(names, total=len(names), what="preparing engines", quiet=quiet):
            self.run(name)
        if not self.runs:
            raise next(iter(self.failures.values()))
        seconds = seconds_per_image(self.runs, self.images, self.request.batch, threads=self.request.threads)
        return {"chosen": preferred(seconds), "seconds": {f"{name} {self.precision}": value for name, value in seconds.items()}}


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
