"""The clock, without trusting this machine's speed."""

import time

import pytest
import torch
from torch import Tensor, nn

from allmlp.profiling import speed
from allmlp.profiling.speed import faster_order, typical_seconds

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still; what is added to its one number has passed."""
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    return now


def test_the_median_of_calls_that_fill_the_time(clock: list[float]) -> None:
    durations = iter([5.0, 1.0, 2.0, 100.0])

    def call() -> None:
        clock[0] += next(durations)

    assert typical_seconds(call, least=8.0, device=CPU) == 2.0
    assert next(durations) == 100.0


def test_there_is_one_call_at_least(clock: list[float]) -> None:
    def call() -> None:
        clock[0] += 3.0

    assert typical_seconds(call, least=0, device=CPU) == 3.0


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_faster_memory_order_is_kept(order: torch.memory_format, clock: list[float]) -> None:
    model = nn.Conv2d(3, 4, 2)

    def run(images: Tensor) -> None:
        fits = images.is_contiguous(memory_format=order) and model.weight.is_contiguous(memory_format=order)
        clock[0] += 1 if fits else 2

    assert faster_order(run, model, torch.zeros(8, 3, 5, 5)) is order
    assert model.weight.is_contiguous(memory_format=order)


def test_the_clock_is_the_real_one_outside_these_tests() -> None:
    assert typical_seconds(lambda: time.sleep(0.01), least=0, device=CPU) >= 0.01
