"""allmlp serve under load, beside the engine alone, itself without batches, a plain FastAPI handler and LitServe.

    python benchmarks/serving.py smlpnet_xs.cifar10 --json build/serving.json
    python benchmarks/serving.py resmlp_s12 --side 256 --clients 1 64 --rounds 1      # an architecture: random weights

All servers run at once and take turns under load, round by round; those that are not asked sleep. The load comes from a
process of its own on the same processors, each client sending its next picture when it has its answer. "cpu ms" is what the
server's processes had of the processors for one picture, which does not count what others on the machine do.
"""

import argparse
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from allmlp import create_model, list_models
from allmlp.data.extras import needed
from allmlp.errors import DataError
from allmlp.run import write_json, write_model
from serving_load import Load, pictures, seconds_of

HERE = Path(__file__).parent
SUBJECTS = ("allmlp serve", "allmlp serve --batch 1", "FastAPI handler", "LitServe")


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        run = _run(given.model, Path(folder))
        ports = {}
        for name in SUBJECTS:
            try:
                ports[name] = stack.enter_context(_server(name, run))
            except DataError as error:
                print(f"without {name}: {error}", file=sys.stderr)
        contents = pictures(given.side)
        found: dict[str, Any] = {"model": given.model, "side": given.side, "threads": torch.get_num_threads()}
        found["engine"] = _engine(run, contents, given.seconds, given.rounds)
        found["load"] = _rounds(ports, contents, given)
        if given.requests:
            found["memory"] = _memory(ports["allmlp serve"], contents, given.requests)
    print(_table(found))
    if given.json:
        write_json(given.json, found)
    return 0


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run, a released checkpoint, or an architecture")
    parser.add_argument("--side", type=int, default=64, help="of the JPEG pictures, in pixels")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64, 256])
    parser.add_argument("--seconds", type=float, default=4, help="under load, each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=0, help="afterwards so many to allmlp serve, watching its memory")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(words)


def _run(model: str, folder: Path) -> str:
    """Weights of an architecture; anything else as it is."""
    if model not in list_models():
        return model
    made = create_model(model).eval()
    write_model(folder / "model.safetensors", made.state_dict(), made.card())
    return str(folder / "model.safetensors")


@contextlib.contextmanager
def _server(name: str, run: str) -> Iterator[tuple[int, int]]:
    """(port, process) of one that answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if name.startswith("allmlp"):
        command = ["-m", "allmlp", "serve", run, "--port", str(port), "--quiet", *name.split()[2:]]
    else:
        library = "fastapi" if name.startswith("FastAPI") else "litserve"
        needed(library, "serve", name)
        command = [str(HERE / f"serving_{library}.py"), run, str(port)]
    environment = {"GOMP_SPINCOUNT": "30000", **os.environ}  # as the command line has it
    process = subprocess.Popen([sys.executable, *command], start_new_session=True, stdout=subprocess.DEVNULL, env=environment)
    try:
        _wait(port, process)
        yield port, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # LitServe's children outlive a SIGTERM
        process.wait()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + 300
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise DataError("the server did not start", hint="see what it says above")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/docs", timeout=5):
            return
        time.sleep(0.2)
    raise DataError("the server did not answer within 300 s", hint="see what it says above")


def _engine(run: str, contents: list[bytes], seconds: float, rounds: int) -> dict[str, float]:
    """Without HTTP: pictures a second and processor milliseconds each, of the engine alone and with decoding."""
    from allmlp.serving.pictures import Upload
    from allmlp.serving.served import Served, Source

    served = Served(Source(run=run))
    uploads = [Upload("", contents[i % len(contents)]) for i in range(served.batcher.most)]
    images = torch.stack([served.decoded(upload, 10**8) for upload in uploads])
    acts = {
        "engine": lambda: served.probabilities(images),
        "with decoding": lambda: served.probabilities(torch.stack([served.decoded(upload, 10**8) for upload in uploads])),
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            act()
            began, cpu, count = time.perf_counter(), time.process_time(), 0
            while time.perf_counter() - began < seconds:
                act()
                count += len(uploads)
            rates[name].append((count / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / count))
    found: dict[str, Any] = {"backend": served.engine.backend if served.engine else "eager"}
    for name, values in rates.items():
        found[name] = statistics.median(rate for rate, _ in values)
        found[f"{name}, cpu ms"] = statistics.median(ms for _, ms in values)
    return found


def _rounds(ports: dict[str, tuple[int, int]], contents: list[bytes], given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each server and number of clients: medians over rounds."""
    cells: dict[tuple[str, int], list[dict[str, float]]] = {}
    for _ in range(given.rounds):
        for clients in given.clients:
            for name, (port, process) in ports.items():
                before = seconds_of(process)
                load = Load(port, contents, clients, given.seconds).away()
                load["cpu ms"] = 1000 * (seconds_of(process) - before) / max(load["answers"], 1)
                cells.setdefault((name, clients), []).append(load)
    return [
        {"server": name, "clients": clients, "failures": sum(load["failures"] for load in loads)}
        | {key: statistics.median(load[key] for load in loads) for key in ("rate", "p50", "p99", "cpu ms")}
        for (name, clients), loads in cells.items()
    ]


def _memory(server: tuple[int, int], contents: list[bytes], requests: int) -> list[dict[str, float]]:
    """Resident megabytes after so many requests."""
    port, process = server
    done, found = 0, []
    while done < requests:
        done += int(Load(port, contents, 64, 10).away()["answers"])
        status = Path(f"/proc/{process}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        found.append({"requests": done, "megabytes": kilobytes / 1000})
    return found


def _table(found: dict[str, Any]) -> str:
    engine = found["engine"]
    lines = [
        f"{found['model']}, JPEG pictures of {found['side']} pixels a side, {found['threads']} threads, {engine['backend']}",
        "",
    ]
    lines += ["| server | clients | pictures/s | p50 ms | p99 ms | cpu ms | failures |", "|---|---:|---:|---:|---:|---:|---:|"]
    for name in ("engine", "with decoding"):
        lines.append(f"| in process: {name} | | {engine[name]:.0f} | | | {engine[f'{name}, cpu ms']:.2f} | |")
    for row in sorted(found["load"], key=lambda row: (row["clients"], SUBJECTS.index(row["server"]))):
        p50, p99 = (f"{1000 * row[key]:.1f}" for key in ("p50", "p99"))
        cells = f"{row['rate']:.0f} | {p50} | {p99} | {row['cpu ms']:.2f} | {row['failures']:.0f}"
        lines.append(f"| {row['server']} | {row['clients']} | {cells} |")
    for row in found.get("memory", [])[:: max(len(found.get("memory", [])) // 8, 1)]:
        lines.append(f"after {row['requests']:,} requests {row['megabytes']:.0f} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
