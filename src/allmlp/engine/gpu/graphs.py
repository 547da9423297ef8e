"""CUDA graphs: work recorded once and replayed, so that the processor no longer starts every kernel by itself."""

# axes: b images, c channels, h w pixels, k classes

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

import torch
from torch import Tensor

from allmlp.engine.backends.base import Runner

Answer = TypeVar("Answer")

WARM = 3
"""Calls before recording: libraries choose and allocate in the first ones, which cannot be recorded."""
ALONE = "thread_local"
"""What other threads do meanwhile, such as loading pictures into pinned memory, does not spoil a recording."""
REPEATS = 10
"""Calls in one recording that is timed."""


class Graphed:
    """`run` for so many images, recorded. Calls may come from any thread; they take turns."""

    def __init__(self, run: Runner, images: Tensor) -> None:
        """images: an example on the GPU, not all alike: what is compared on the way is compared on them."""
        self.run = run  # which holds the weights
        self.given, self.alone, self.stream = images.clone(), Lock(), torch.cuda.Stream(images.device)
        with torch.cuda.device(images.device), torch.no_grad():
            self._beside(lambda: [run(self.given) for _ in range(WARM)])
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode=ALONE):
                self.answer = run(self.given)

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k
        def replayed() -> Tensor:
            self.given.copy_(images)
            self.graph.replay()
            return self.answer.clone()

        with self.alone, torch.cuda.device(self.given.device):
            answer = self._beside(replayed)
            answer.record_stream(torch.cuda.current_stream())
            return answer

    def _beside(self, call: Callable[[], Answer]) -> Answer:
        """On the stream of this graph, after all that is under way on the caller's, which then waits."""
        now = torch.cuda.current_stream()
        self.stream.wait_stream(now)
        with torch.cuda.stream(self.stream):
            answer = call()
        now.wait_stream(self.stream)
        return answer


def recorded_seconds(call: Callable[[], object]) -> float:
    """Of one call on the GPU, once recorded: without what the processor spends on starting it."""
    call()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.Stream(), capture_error_mode=ALONE):
        for _ in range(REPEATS):
            call()
    graph.replay()
    return event_seconds(graph.replay) / REPEATS


def event_seconds(call: Callable[[], object]) -> float:
    """From the begin to the end of a call on the current stream, by the GPU's own clock."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3
