"""`predict --engine ray`: the rows of many.py, answered by the actors of a Ray cluster, part by part.

Ray Data's map_batches gives each actor one part at a time: where its pictures lie goes there, the part comes back as the
bytes of a parquet file, and this process alone writes. A part of an actor that dies is given to another one.
"""

import json
import logging
import os
import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple
from functools import cached_property
from importlib import import_module
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from allmlp import errors
from allmlp.data.addresses import is_address
from allmlp.data.extras import needed
from allmlp.data.stream import Stretch, changed, pictures, stretches
from allmlp.engine.graph import Graph
from allmlp.errors import AllmlpError, DataError, EngineError
from allmlp.models.base import ImageModel
from allmlp.prediction.asked import Asked
from allmlp.prediction.parts import Parts, store
from allmlp.strict_json import to_json

WAVE = 512
"""Parts whose pictures are listed at a time: a million names, so that memory is bounded. Actors live as long."""

DECODERS = 2
"""Threads of an actor: one decodes while another one waits for the disk or the network."""


def library() -> Any:
    """Ray, with its Data. Raises DataError where the extra is not installed."""
    needed("ray.data", "ray", "--engine ray")
    return import_module("ray")


class Actor:
    """One of the cluster's processes, with a model of its own. Ray makes it once, and calls it with part after part."""

    def __init__(self, model: Any, asking: dict[str, Any], columns: Any, folder: str) -> None:
        """model: Ray's reference to it. folder: to which relative paths belong."""
        self.model, self.asking, self.columns, self.folder = model, asking, columns, folder

    @cached_property
    def ask(self) -> Asked:
        return Asked(import_module("ray").get(self.model), **self.asking, quiet=True)

    def __call__(self, batch: Any) -> Any:
        """A table of one row, {first, stretches} → one of `answer`'s, of pyarrow's."""
        arrow = import_module("pyarrow")
        columns = {"first": arrow.int64(), "part": arrow.large_binary(), "error": arrow.string(), "host": arrow.string()}
        answers = [self.answer(row["first"], json.loads(row["stretches"])) for row in batch.to_pylist()]
        return arrow.Table.from_pylist(answers, schema=arrow.schema(columns.items()))

    def answer(self, first: int, places: list[Any]) -> dict[str, Any]:
        """The number of its first row, and the part as parquet; or the error, as Ray would not tell it."""
        told = {"first": first, "host": platform.node()}
        try:
            return {**told, "part": self.part([Stretch(*values) for values in places])}
        except AllmlpError as error:
            return {**told, "error": to_json([type(error).__name__, error.what, error.hint])}

    def part(self, places: list[Stretch]) -> bytes:
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        found = (picture for one in places for picture in pictures(one.place, one.start, one.stop))
        content = BytesIO()
        with ThreadPoolExecutor(DECODERS) as pool:
            store(list(self.ask.rows(found, pool)), self.columns, content)
        return content.getvalue()


def answered(
    parts: Parts,
    missing: list[range],
    sources: list[str],
    model: ImageModel | Graph,
    asking: dict[str, Any],
    actors: int | None,
    more: Callable[[int], None],
) -> None:
    """Write every missing part. asking: what `Asked` is made with, besides the model. actors: None is one a GPU, or else a CPU.

    Ray is the cluster that this process is already part of, else that of $RAY_ADDRESS, else this machine for as long as it
    takes. Raises DataError for pictures that the cluster does not see, EngineError where Ray cannot go on.
    """
    ray = library()
    with _cluster(ray):
        held = ray.put(model)
        made_with = {"model": held, "asking": asking, "columns": parts.schema, "folder": str(Path.cwd())}
        each = stretches(sources, missing)
        while wave := list(islice(each, WAVE)):
            due = {span.start: span for span, _ in wave}
            for done in _answers(ray, wave, made_with, actors):
                if done["error"] is not None:
                    kind, what, hint = json.loads(done["error"])
                    raise getattr(errors, kind)(what, hint=hint)
                span = due.pop(done["first"])
                _refuse_unseen(parts, done["part"], done["host"])
                parts.take(span, done["part"])
                more(len(span))
            if due:
                raise changed()


def _answers(
    ray: Any, wave: list[tuple[range, list[Stretch]]], made_with: dict[str, Any], actors: int | None
) -> Iterator[dict[str, Any]]:
    """What `Actor.answer` gives, in the order in which parts are done."""
    items = [{"first": span.start, "stretches": to_json([astuple(one) for one in found])} for span, found in wave]
    there = ray.cluster_resources()
    gpus, cpus = int(there.get("GPU", 0)), max(int(there.get("CPU", 1)), 1)
    most = min(actors or gpus or cpus, len(items))
    share = {"num_gpus": min(gpus / most, 1), "num_cpus": min(cpus / most, 1)} if gpus else {"num_cpus": min(cpus / most, 1)}
    done = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        Actor,
        batch_size=1,
        batch_format="pyarrow",
        fn_constructor_kwargs=made_with,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most, initial_size=most),
        **share,
    )
    for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield from table.to_pylist()


@contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Ray, for us alone where there is none yet."""
    ours = not ray.is_initialized()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told that it is used
    try:
        if ours:
            ray.init(log_to_driver=False, logging_level="ERROR")
        with _silent(ray):
            yield
    except (ray.exceptions.RayError, ray.data.exceptions.SystemException, ConnectionError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()] or [""]
        raise EngineError(
            f"Ray cannot go on: {type(error).__name__}: {lines[-1].strip()[:300]}",
            hint="look at the cluster (ray status); the same command goes on with what is missing",
        ) from None
    finally:
        if ours and ray.is_initialized():
            ray.shutdown()


@contextmanager
def _silent(ray: Any) -> Iterator[None]:
    """Ray Data tells its plans to its file alone: the bar is ours."""
    context = ray.data.DataContext.get_current()
    shown = [h for h in logging.getLogger("ray.data").handlers if isinstance(h, logging.StreamHandler)]
    bars, levels = context.enable_progress_bars, [handler.level for handler in shown]
    context.enable_progress_bars = False
    for handler in shown:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        context.enable_progress_bars = bars
        for handler, level in zip(shown, levels, strict=True):
            handler.setLevel(level)


def _refuse_unseen(parts: Parts, part: bytes, host: str) -> None:
    """Raises DataError for a file that is here and not where the actor looked for it, which is no fault of the picture's."""
    table = parts.parquet.read_table(parts.arrow.BufferReader(part), columns=["path", "error"])
    for row in table.to_pylist():
        if row["error"] == "not a file" and not is_address(row["path"]) and Path(row["path"]).is_file():
            raise DataError(
                f"{row['path']} is here, and {host} does not see it",
                hint="put the pictures on a disk that the whole cluster has, or give their address",
            )
