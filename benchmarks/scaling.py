"""How training would scale over more processes: predicted from the cost of a step and of an all-reduce measured here.

    python benchmarks/scaling.py --model resmlp_s12 --batch 8 --json build/scaling.json
    python benchmarks/scaling.py --from build/scaling.json --latency 20e-6 --bandwidth 40e9 --processes 8 64

Each process keeps its batch (weak scaling). A ring all-reduce of S bytes over N processes costs 2(N-1) latencies and moves
2(N-1)/N of S through each link; DDP hides it behind the backward pass as far as that is long enough:
step = forward + max(backward, all-reduce) + update. Two real processes are measured beside their prediction.
"""

import argparse
import os
import socket
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from allmlp import create_model
from allmlp.recipe import Optim
from allmlp.run import read_json, write_json
from allmlp.training.optim import optimiser

SIZES = (4_096, 65_536, 1_048_576, 16_777_216, 67_108_864)
"""Bytes of the all-reduces that are timed."""


@dataclass(frozen=True)
class Step:
    """Seconds of one training step of one process."""

    forward: float
    backward: float
    update: float

    @property
    def whole(self) -> float:
        return self.forward + self.backward + self.update


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    found = read_json(given.again) if given.again else measure(given.model, given.img_size, given.batch, given.rounds)
    latency = found["latency"] if given.latency is None else given.latency
    bandwidth = found["bandwidth"] if given.bandwidth is None else given.bandwidth
    found["predicted"] = [
        predict(Step(**found["step"]), found["gradient_bytes"], found["batch"], count, latency, bandwidth)
        for count in given.processes
    ]
    print(f"{found['model']}, {found['batch']} images a process: {Step(**found['step']).whole * 1e3:.0f} ms a step alone")
    print(f"all-reduce: {latency * 1e6:.0f} µs a hop, {bandwidth / 1e9:.2f} GB/s")
    for row in found["predicted"]:
        rate = f"{row['images_per_s']:>10,.1f} images/s  {row['efficiency']:.0%}"
        print(f"{row['processes']:>5} processes  {row['step'] * 1e3:>7.0f} ms  {rate}")
    print(f"two processes measured: {found['measured_two'] * 1e3:.0f} ms a step")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        write_json(given.json, found)
    return 0


def predict(step: Step, gradient_bytes: int, batch: int, processes: int, latency: float, bandwidth: float) -> dict[str, Any]:
    """Seconds a step, images/s of all, and efficiency in (0, 1] against a process alone."""
    ring = 2 * (processes - 1) * (latency + gradient_bytes / processes / bandwidth)
    whole = step.forward + max(step.backward, ring) + step.update
    return {
        "processes": processes,
        "all_reduce": ring,
        "step": whole,
        "images_per_s": processes * batch / whole,
        "efficiency": step.whole / whole,
    }


def fitted(times: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """(seconds of latency a hop, bytes/s) from all-reduces between two processes: 2 latencies, and S bytes each way.

    times: (bytes, seconds), the smallest first.
    """
    (small, least), (large, most) = times[0], times[-1]
    bandwidth = (large - small) / max(most - least, 1e-9)
    return max((least - small / bandwidth) / 2, 0.0), bandwidth


def measure(name: str, img_size: int | None, batch: int, rounds: int) -> dict[str, Any]:
    """Everything that `main` writes, but for the predictions."""
    model = _model(name, img_size)
    step = _step(name, img_size, batch, rounds)
    with mp.get_context("spawn").Manager() as manager:
        found = manager.dict()
        mp.spawn(_two, (_free_port(), name, img_size, batch, rounds, found), nprocs=2)
        times, two = list(found["all_reduce"]), found["step"]
    latency, bandwidth = fitted(times)
    return {
        "model": name,
        "img_size": list(model.img_size),
        "batch": batch,
        "gradient_bytes": sum(p.numel() * 4 for p in model.parameters()),
        "step": asdict(step),
        "all_reduce": [{"bytes": size, "seconds": seconds} for size, seconds in times],
        "latency": latency,
        "bandwidth": bandwidth,
        "measured_two": two,
    }


def _model(name: str, img_size: int | None) -> Any:
    torch.manual_seed(0)
    return create_model(name, **({} if img_size is None else {"img_size": img_size}))


def _step(name: str, img_size: int | None, batch: int, rounds: int, wrap: Callable[[Any], Any] = lambda model: model) -> Step:
    """Medians over `rounds` steps after two to warm up, on one thread."""
    torch.set_num_threads(1)
    model = _model(name, img_size)
    made, forward = optimiser(model, Optim(), batch), wrap(model)
    images, labels = torch.randn(batch, model.in_chans, *model.img_size), torch.zeros(batch, dtype=torch.long)
    spent: list[list[float]] = [[], [], []]
    for _ in range(rounds + 2):
        marks = [time.perf_counter()]
        loss = F.cross_entropy(forward(images), labels)
        marks.append(time.perf_counter())
        loss.backward()
        marks.append(time.perf_counter())
        made.step()
        made.zero_grad()
        marks.append(time.perf_counter())
        for part, begun, ended in zip(spent, marks[:-1], marks[1:], strict=True):
            part.append(ended - begun)
    return Step(*(statistics.median(part[2:]) for part in spent))


def _two(rank: int, port: int, name: str, img_size: int | None, batch: int, rounds: int, found: Any) -> None:
    """One of two processes: all-reduces of every size, then whole steps under DDP."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    times = []
    for size in SIZES:
        tensor = torch.zeros(size // 4)
        spent = []
        for _ in range(rounds + 2):
            dist.barrier()
            begun = time.perf_counter()
            dist.all_reduce(tensor)
            spent.append(time.perf_counter() - begun)
        times.append((size, statistics.median(spent[2:])))
    whole = _step(name, img_size, batch, rounds, DistributedDataParallel).whole
    if rank == 0:
        found["all_reduce"], found["step"] = times, whole
    dist.barrier()
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resmlp_xs", help="a name from allmlp models")
    parser.add_argument("--img-size", type=int, help="pixels a side; the model's own unless given")
    parser.add_argument("--batch", type=int, default=32, help="images of each process")
    parser.add_argument("--rounds", type=int, default=10, help="steps and all-reduces that are timed")
    parser.add_argument("--processes", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--latency", type=float, help="seconds a hop, for another network than this machine's")
    parser.add_argument("--bandwidth", type=float, help="bytes/s of each link, likewise")
    parser.add_argument("--from", dest="again", type=Path, metavar="JSON", help="predict from what was measured before")
    parser.add_argument("--json", type=Path, help="write everything there")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
