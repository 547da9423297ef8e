"""How many pieces a second a ResMLP and a Transformer of the same size learn from and say, in one process, in turns.

    python benchmarks/translation.py --json build/translation.json --page docs/benchmarks/translation.md

Training: forward, backward and AdamW's step on sentences of noise, all of one length. Saying: greedy and with four beams,
without an end, so that both say as many pieces; the ResMLP by one row a piece, and by a whole pass as torch's decoder does,
which keeps nothing between steps. One thread is timed by the time the process had the processor, more by the clock.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from allmlp.data.progress import watched
from allmlp.engine.device import threads_used
from allmlp.engine.environment import environment
from allmlp.run import read_json, whole_file, write_json
from allmlp.translation.model import BEGIN, END, Translator, create_translator
from allmlp.translation.search import translate
from spread import median_and_spread

SIZES = ("xs", "s")
VOCABULARY, LENGTH, SENTENCES, LONGEST, ROUNDS = 6000, 24, 32, 80, 5


def main(words: Sequence[str] | None = None) -> int:
    given = _parse(words)
    if given.again is None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        about = environment(torch.device("cpu"), "fp32") | {"rounds": given.rounds, "threads": given.threads}
        found: dict[str, Any] = {"environment": about, "seconds": {}}
        for size in given.sizes:
            found["seconds"][size] = measure(size, given.rounds, given.threads)
            write_json(given.json, found)  # each time: what was measured stays when the rest is interrupted
    else:
        found = read_json(given.again)
    print(table(found["seconds"]))
    if given.page is not None:
        given.page.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(given.page) as temporary:
            temporary.write_text(page(found, given.machine), encoding="utf-8")
    return 0


def measure(size: str, rounds: int, threads: int) -> dict[str, list[float]]:
    """What is timed → seconds a piece, in each turn."""
    torch.manual_seed(0)
    source, target = (torch.randint(4, VOCABULARY, (SENTENCES, LENGTH)) for _ in range(2))
    calls: dict[str, Callable[[], object]] = {}
    for kind in ("resmlp", "transformer"):
        model = create_translator(f"{kind}_mt_{size}", vocabulary=VOCABULARY, longest=LONGEST)
        calls[f"train: {kind}"] = partial(_step, model, torch.optim.AdamW(model.parameters(), lr=1e-4), source, target)
        endless = create_translator(f"{kind}_mt_{size}", vocabulary=VOCABULARY, longest=LENGTH + 1).eval()
        with torch.no_grad():
            endless.embedding.weight[END] = 0.0  # a score of 0, far below the best of thousands: nobody comes to an end
        for beams in (1, 4):
            calls[f"say, {beams} beam{'s' * (beams > 1)}: {kind}"] = partial(translate, endless, source, beams=beams)
        if kind == "resmlp":
            calls["say, 1 beam: resmlp by whole passes"] = partial(translate, endless, source, beams=1, incremental=False)
    seconds: dict[str, list[float]] = {key: [] for key in calls}
    clock = time.process_time if threads == 1 else time.perf_counter
    with threads_used(threads):
        for call in calls.values():
            call()
        for turn in watched(range(rounds), total=rounds, what=size):
            keys = list(calls)
            for key in keys[turn % len(keys) :] + keys[: turn % len(keys)]:
                started = clock()
                calls[key]()
                seconds[key].append((clock() - started) / (SENTENCES * LENGTH))
    return seconds


def _step(model: Translator, optimiser: torch.optim.Optimizer, source: Tensor, target: Tensor) -> None:
    model.train()
    given = torch.cat([torch.full_like(target[:, :1], BEGIN), target[:, :-1]], 1)
    optimiser.zero_grad(set_to_none=True)
    F.cross_entropy(model(source, given).flatten(0, 1), target.flatten()).backward()
    optimiser.step()


def table(seconds: dict[str, dict[str, list[float]]]) -> str:
    """One row a thing that is timed: pieces a second ± half the distance of the quartiles, × the Transformer's."""
    sizes = list(seconds)
    lines = [["pieces a second (× transformer)", *(f"`_{size}`" for size in sizes)], ["---", *["---:"] * len(sizes)]]
    for key in seconds[sizes[0]]:
        what = key.partition(":")[0]
        cells = []
        for size in sizes:
            typical, spread = median_and_spread([1 / each for each in seconds[size][key]])
            base = 1 / statistics.median(seconds[size][f"{what}: transformer"])
            cells.append(f"{typical:,.0f} ± {spread:,.0f} ({typical / base:.2f})")
        lines.append([key, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(found: dict[str, Any], machine: str | None) -> str:
    """The Markdown page."""
    about = found["environment"]
    threads = "one thread, by processor time" if about["threads"] == 1 else f"{about['threads']} threads, by the clock"
    return f"""# Translation: pieces a second, measured

Measured on {machine or "this machine"}, torch {about["torch"]}, {threads}, {about["rounds"]} rounds in one process in which all
took turns. {SENTENCES} sentences of {LENGTH} pieces, a vocabulary of {VOCABULARY:,}. The Transformer is `torch.nn.Transformer`,
whose decoder keeps nothing between steps; one that kept keys and values would say more than this one.
`python benchmarks/translation.py` measures again.

{table(found["seconds"])}
"""


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=("xs", "s", "6"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--json", type=Path, default=Path("build/translation.json"), help="where all that was measured is written"
    )
    parser.add_argument("--page", type=Path, help="the Markdown page to write")
    parser.add_argument("--from", type=Path, dest="again", metavar="JSON", help="measure nothing; use this file")
    parser.add_argument("--machine", help="what the page calls this machine")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
