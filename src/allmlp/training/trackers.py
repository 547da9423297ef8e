"""Who is told how training goes: steps.jsonl and TensorBoard's event files always, others by `--log`."""

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from allmlp.errors import RecipeError, one_of
from allmlp.files import writing
from allmlp.run import Run

Record = Mapping[str, Any]


class Tracker(Protocol):
    """Takes the numbers of a step or of an epoch."""

    def log(self, values: Record, step: int) -> None: ...

    def close(self) -> None: ...


class EventFile:
    """TensorBoard's format, in the run folder: `tensorboard --logdir runs` shows it.

    Written here and now: tensorboardX's own thread dies of a full disk, and training would wait for it for ever.
    """

    def __init__(self, run: Run, step: int) -> None:
        """step: how many are done; lines of later ones, in files before this, no longer count."""
        with writing(run.folder):
            self.writer = EventsWriter(str(run.folder / "events"))
            if step:
                self._add(step + 1, session_log=SessionLog(status=SessionLog.START))
            self.writer.flush()

    def log(self, values: Record, step: int) -> None:
        for name, value in values.items():
            self._add(step, summary=scalar(name, value))
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()

    def _add(self, step: int, **what: Any) -> None:
        self.writer.write_event(Event(step=step, wall_time=time.time(), **what))


class WeightsAndBiases:
    """wandb, which goes on with the same run after a resume; WANDB_MODE=offline needs no account."""

    def __init__(self, run: Run, step: int, wandb: ModuleType, config: Record) -> None:
        name = run.folder.resolve().name
        self.run = wandb.init(project="allmlp", name=name, id=name, resume="allow", dir=str(run.folder), config=dict(config))

    def log(self, values: Record, step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """mlflow, at MLFLOW_TRACKING_URI or in ./mlruns."""

    def __init__(self, run: Run, step: int, mlflow: ModuleType, config: Record) -> None:
        self.mlflow = mlflow
        mlflow.set_experiment("allmlp")
        name = run.folder.resolve().name
        known = mlflow.search_runs(filter_string=f"attributes.run_name = '{name}'", output_format="list")
        mlflow.start_run(run_id=known[0].info.run_id if step and known else None, run_name=name)
        if not (step and known):
            mlflow.log_params(dict(config))

    def log(self, values: Record, step: int) -> None:
        self.mlflow.log_metrics({name.replace(" ", "_"): float(value) for name, value in values.items()}, step=step)

    def close(self) -> None:
        self.mlflow.end_run()


class Trackio:
    """trackio, which keeps runs on this machine unless told otherwise."""

    def __init__(self, run: Run, step: int, trackio: ModuleType, config: Record) -> None:
        self.trackio = trackio
        trackio.init(project="allmlp", name=run.folder.resolve().name, resume="allow", config=dict(config))

    def log(self, values: Record, step: int) -> None:
        self.trackio.log(dict(values), step=step)

    def close(self) -> None:
        self.trackio.finish()


SERVICES: dict[str, Callable[[Run, int, ModuleType, Record], Tracker]] = {
    "mlflow": MLflow,
    "trackio": Trackio,
    "wandb": WeightsAndBiases,
}
"""Name of the package, and of the extra that brings it → tracker."""


def checked(names: Sequence[str]) -> tuple[str, ...]:
    """The same names, once it is known that each can be used. Raises RecipeError that says what to install."""
    for name in names:
        _package(name)
    return tuple(names)


def trackers(run: Run, names: Sequence[str], *, step: int, config: Record) -> dict[str, Tracker]:
    """Event files, and the services by name. step: how many are done, more than 0 when a run goes on.

    config: the recipe's values by dotted name. Raises RecipeError for a service that does not start, with its own words.
    """
    made: dict[str, Tracker] = {"tensorboard": EventFile(run, step)}
    for name in names:
        try:
            made[name] = SERVICES[name](run, step, _package(name), config)
        except Exception as error:  # services raise what they like
            raise RecipeError(f"--log {name} did not start: {error}", hint="see its documentation, or leave it away") from None
    return made


def _package(name: str) -> ModuleType:
    if name not in SERVICES:
        raise RecipeError(f"--log {name} is no tracker", hint=f"{one_of(SERVICES, name)}; event files are always written")
    try:
        return import_module(name)
    except ImportError:
        raise RecipeError(f"--log {name} needs {name}, which is not installed", hint=f"pip install 'allmlp[{name}]'") from None
