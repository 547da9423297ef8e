"""The engine "cuda" from end to end, with stand-ins for streams, events and graphs: what it does with them."""

# axes: b images, c channels, h w pixels

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch
import torch._dynamo  # looks torch.cuda over as it is loaded, which must not be when stand-ins are there
from torch import Tensor

from allmlp.engine.backends import cuda
from allmlp.engine.backends.base import Wanted
from allmlp.engine.gpu import graphs, plain
from allmlp.engine.gpu.kit import Kit
from allmlp.engine.gpu.quickest import Quickest
from contract import build, images, trained


class Stream:
    def __init__(self, device: torch.device | None = None) -> None:
        self.device = device

    def wait_stream(self, other: "Stream") -> None:
        assert isinstance(other, Stream)


class Event:
    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        pass

    def elapsed_time(self, later: "Event") -> float:
        return 1e3 * (later.at - self.at)


class Graph:
    def replay(self) -> None:
        """A real one writes its answer where it was recorded; `Replayed` does that here."""


class Replayed(graphs.Graphed):
    def __call__(self, given: Tensor) -> Tensor:
        self.graph.replay = lambda: self.answer.copy_(self.run(self.given))  # type: ignore[method-assign]
        return super().__call__(given)


@contextmanager
def recording(graph: Graph, *, stream: Stream, capture_error_mode: str) -> Iterator[None]:
    assert isinstance(stream, Stream)
    assert capture_error_mode == "thread_local"
    yield


def other(name: str) -> object:
    """A second form of an operation."""
    return lambda *given, **words: getattr(plain, name)(*given, **words)


def fails(*given: object, **words: object) -> None:
    raise RuntimeError("out of resource")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["resmlp_s12", "resmlp_s12_class", "mixer_b16", "smlpnet_b"])
def test_the_engine_answers_as_its_model_does_for_any_number_of_images(
    name: str, precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for what, stand_in in (("Stream", Stream), ("Event", Event), ("CUDAGraph", Graph), ("graph", recording)):
        monkeypatch.setattr(torch.cuda, what, stand_in)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    for what in ("stream", "device"):
        monkeypatch.setattr(torch.cuda, what, lambda _: nullcontext())
    monkeypatch.setattr(Tensor, "record_stream", lambda self, stream: None)
    monkeypatch.setattr(cuda, "Graphed", Replayed)
    operations = ("mix", "stats", "norm", "linear_gelu", "add_linear")
    made = {
        what: Quickest(getattr(plain, what), [other(what), fails], graphs.recorded_seconds, lambda _, measure: measure())
        for what in operations
    }
    monkeypatch.setattr("allmlp.engine.gpu.find.kit_for", lambda device: Kit(**made))
    model = trained(build(name))
    run = cuda.CUDA().build(model, Wanted(precision=precision, batch=3, threads=1), tmp_path)
    chosen = {what: len(operation.chosen) for what, operation in made.items()}
    with torch.inference_mode():
        for count in (1, 2, 3, 7):
            given = images(model, count)
            due, got = model(given), run(given)
            assert float((got - due).norm() / due.norm()) < (1e-5 if precision == "fp32" else 0.05)
            assert got.dtype == torch.float32
    assert chosen == {what: len(operation.chosen) for what, operation in made.items()}  # nothing is left to choose later
    assert (sum(chosen.values()) > 0) == (name != "smlpnet_b")
