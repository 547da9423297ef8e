"""allmlp predict"""

import csv
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from allmlp.commands.words import Engines, pair, parse, print_json, print_table, say
from allmlp.errors import AllmlpError


@dataclass(frozen=True, kw_only=True)
class Words:
    """Classify pictures with a trained run. Pictures that cannot be read are named, and the rest goes on."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The run folder, its .safetensors file, an exported bundle, or a released checkpoint's name (allmlp models --released)."""
    pictures: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES_OR_FOLDERS")]
    """Files, and folders that are searched for pictures."""
    top: int = 3
    """How many classes to name."""
    weights: str = "best"
    """"best" or "last"."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Resize the model to this size in pixels first; one number for both sides."""
    batch: int = 32
    """Pictures at a time."""
    engine: Literal[Engines, "ray"] = "auto"
    """What answers: the model as it is (eager), an engine, or the fastest here when there are many pictures (auto); with
    --out also the fastest of each machine of a Ray cluster (ray)."""
    json: bool = False
    """One JSON object per line on stdout."""
    csv: bool = False
    """CSV on stdout."""
    out: Path | None = None
    """A .parquet, .csv or .jsonl file for any number of pictures, also from @list.txt, patterns, .tar and .parquet files, and
    addresses such as s3://bucket/shots; the same command goes on after it was interrupted."""
    embeddings: bool = False
    """With --out: a column of the features before the classifier, too."""
    workers: int | None = None
    """With --out: threads that decode pictures; without it one for each processor. With --engine ray: processes of the
    cluster; without it one for each GPU, or for each processor where there are none."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="predict")
    if given.json and given.csv:
        raise AllmlpError("--json and --csv together", hint="choose one")
    if given.top < 1 or given.batch < 1:
        raise AllmlpError("--top and --batch start at 1", hint="give 1 or more")
    if given.out is None and (given.embeddings or given.workers is not None):
        raise AllmlpError("--embeddings and --workers are for a file of answers", hint="add --out results.parquet")
    if given.out is None and given.engine == "ray":
        raise AllmlpError("--engine ray is for many pictures and a file of answers", hint="add --out results.parquet")
    if given.out is not None:
        return _into_file(given, given.out)
    from allmlp.data.names import in_endings
    from allmlp.data.pictures import list_pictures
    from allmlp.data.progress import watched
    from allmlp.engine.open import open_answering
    from allmlp.pixels.formats import reader_of
    from allmlp.prediction.pictures import predict

    model = open_answering(given.run, which=given.weights, img_size=pair(given.img_size))
    others: Counter[str] = Counter()
    pictures = list_pictures(given.pictures, others)
    if others:
        say(f"allmlp: {in_endings(others)}{reader_of(others)}")
    rows = predict(model, pictures, top=given.top, batch=given.batch, engine=given.engine)
    if not given.json and not given.csv:
        rows = watched(rows, total=len(pictures), what="classifying")
    good, bad = (_json if given.json else _csv if given.csv else _table)(rows, min(given.top, model.num_classes))
    if bad:
        say(f"allmlp: {bad} of {good + bad} pictures could not be read")
    return 0 if good else 1


def _into_file(given: Words, out: Path) -> int:
    if given.json or given.csv:
        raise AllmlpError("--json and --csv write to stdout, and --out is a file", hint="choose one; --out x.csv writes CSV")
    if given.workers is not None and given.workers < 1:
        raise AllmlpError(f"--workers {given.workers}", hint="give 1 or more")
    from allmlp.data.names import in_endings
    from allmlp.engine.open import open_answering
    from allmlp.pixels.formats import reader_of
    from allmlp.prediction.many import predict_many

    model = open_answering(given.run, which=given.weights, img_size=pair(given.img_size))
    done = predict_many(
        model,
        given.pictures,
        out,
        top=given.top,
        batch=given.batch,
        engine=given.engine,
        embeddings=given.embeddings,
        workers=given.workers,
        quiet=False,
    )
    kept = f", {done['kept']:,} of them from before" if done["kept"] else ""
    bad = f"; {done['errors']:,} could not be read" if done["errors"] else ""
    if done["passed_over"]:
        say(f"allmlp: {in_endings(done['passed_over'])}{reader_of(done['passed_over'])}")
    rate = (done["rows"] - done["kept"]) / max(done["seconds"], 1e-9)
    say(f"{done['out']}: {done['rows']:,} rows{kept}{bad}; {done['seconds']:.0f} s, {rate:,.0f} pictures/s")
    return 0 if done["errors"] < done["rows"] else 1


def _json(rows: Iterable[dict[str, Any]], top: int) -> tuple[int, int]:
    good = bad = 0
    for row in rows:
        print_json(row)
        good, bad = good + ("error" not in row), bad + ("error" in row)
    return good, bad


def _csv(rows: Iterable[dict[str, Any]], top: int) -> tuple[int, int]:
    from allmlp.prediction.tables import csv_cells, csv_header

    good = bad = 0
    writer = csv.writer(sys.stdout)
    writer.writerow(csv_header(top))
    for row in rows:
        writer.writerow(csv_cells(row, top))
        good, bad = good + ("error" not in row), bad + ("error" in row)
    return good, bad


def _table(rows: Iterable[dict[str, Any]], top: int) -> tuple[int, int]:
    lines, good, bad = [], 0, 0
    for row in rows:
        if "error" in row:
            lines.append((row["path"], "-", "-", f"unreadable: {row['error']}"))
            bad += 1
        else:
            first, *others = zip(row["classes"], row["probabilities"], strict=True)
            rest = ", ".join(f"{name} {p:.1%}" for name, p in others)
            lines.append((row["path"], first[0], f"{first[1]:.1%}", rest))
            good += 1
    print_table(("picture", "class", "probability", "then"), lines, right=("probability",))
    return good, bad
