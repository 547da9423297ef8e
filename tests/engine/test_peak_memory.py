"""Peak memory against sums by hand, and what is left of the machine's."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from allmlp.engine import memory
from allmlp.engine.memory import free_bytes, give_back, peak_bytes, tensor_bytes

CPU = torch.device("cpu")
BATCH = 64


@torch.inference_mode()
def peak(model: nn.Module, images: torch.Tensor) -> int:
    model(images)  # the first call may keep something for good
    return peak_bytes(lambda: model(images), CPU)


def test_two_neighbouring_activations_are_held_at_once_and_no_third() -> None:
    """The hidden layer before and after the nonlinearity; what enters and the weights were there before."""
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(), nn.Linear(1000, 300), nn.ReLU(), nn.Linear(300, 10))
    assert peak(model, torch.zeros(BATCH, 100)) == 4 * BATCH * (1000 + 1000)


def test_working_in_place_saves_one_of_the_two() -> None:
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(inplace=True), nn.Linear(1000, 300))
    assert peak(model, torch.zeros(BATCH, 100)) == 4 * BATCH * (1000 + 300)


def test_the_peak_is_the_same_each_time_and_grows_with_the_batch() -> None:
    model = nn.Sequential(nn.Linear(100, 1000), nn.GELU())
    first, again, double = (peak(model, torch.zeros(n, 100)) for n in (BATCH, BATCH, 2 * BATCH))
    assert first == again == double / 2


def test_measuring_memory_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    peak(nn.Linear(2, 2), torch.zeros(1, 2))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_bytes_of_tensors_follow_their_kind() -> None:
    assert tensor_bytes([torch.zeros(3, 5), torch.zeros(7, dtype=torch.bfloat16)]) == 60 + 14


def test_free_memory_is_the_less_of_the_machines_and_the_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert free_bytes() is None
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemAvailable:   5000 kB\nHugePages_Total: 0\n")
    assert free_bytes() == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert free_bytes() == 5000 * 1024
    (tmp_path / "memory.max").write_text("3000000\n")
    assert free_bytes() == 2_000_000
    (tmp_path / "memory.stat").write_text("anon 600000\ninactive_file 400000\n")
    assert free_bytes() == 2_400_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_was_freed_between_what_is_held_goes_back_to_the_system() -> None:
    """Pieces of 1,000 bytes, of which every thousandth stays: the C library cannot shrink its heap by itself."""

    def held() -> int:
        return 1024 * memory._numbers(memory.STATUS)["VmRSS:"]

    pieces = [bytes(1000) for _ in range(100_000)]
    pieces = pieces[::1000]
    before = held()
    give_back()
    if before == held():
        pytest.skip("this C library gives back by itself")
    assert before - held() > 50e6
    assert len(pieces) == 100
