"""Damaged pictures are answered or counted with a reason, wherever they come in."""

import time
from pathlib import Path

import fuzzed
import pytest
from apart import Apart
from doors import Counted, explained, predicted, server, trained
from scorecard import Card, Fault

from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.read import UnreadableImage, read_image
from helpers import attempt, picture

FAULT = Fault(
    40,
    "Fuzzed images",
    "no crash, no hang over 5 s a file, less than 1 GiB beyond start, each file counted: an answer or a reason",
)
FULL, QUICK = 1700, 90
pytestmark = pytest.mark.slow


def report(card: Card, how: str, files: int, found: Counted) -> None:
    assert found.answered + found.refused == files
    assert min(found.answered, found.refused) > 0
    assert found.grown < 1024
    what = f"{found.answered:,} answered, {found.refused:,} with a reason, {found.seconds:.1f} s"
    card.seen(how, files, f"{what}, {found.grown:.0f} MiB beyond start")


def test_each_alone_is_decoded_or_refused_in_time(tmp_path: Path, card: Card) -> None:
    files = fuzzed.written(tmp_path / "bad", card.times(FULL, QUICK))
    spec, slowest, answered = Preprocessing(img_size=(8, 8)), 0.0, 0
    for path in files:
        begun = time.perf_counter()
        image, error = attempt(UnreadableImage, read_image, path, 3)
        if image is not None:
            assert spec(image).isfinite().all()
        slowest = max(slowest, time.perf_counter() - begun)
        answered += error is None
    card.within(slowest, 5)
    card.seen("each file decoded and prepared alone", len(files), f"{answered:,} readable; slowest {slowest:.2f} s")


def test_predict(tmp_path: Path, apart: Apart, five_classes: Path, card: Card) -> None:
    files = fuzzed.written(tmp_path / "bad", card.times(FULL, QUICK))
    report(card, "predict --json over all", len(files), predicted(apart, five_classes, tmp_path / "bad"))


def test_train(tmp_path: Path, apart: Apart, card: Card) -> None:
    files = fuzzed.written(tmp_path / "data" / "bad", card.times(FULL, QUICK))
    (tmp_path / "data" / "good").mkdir()
    for number in range(20):
        picture(number).save(tmp_path / "data" / "good" / f"{number}.png")
    report(
        card,
        "train, one epoch over all and 20 good ones",
        len(files),
        trained(apart, tmp_path / "data", tmp_path / "run", good=20),
    )


def test_explain(tmp_path: Path, apart: Apart, five_classes: Path, card: Card) -> None:
    files = fuzzed.written(tmp_path / "bad", card.times(FULL, 40))
    total = Counted(0, 0, 0.0, 0.0)
    for start in range(0, len(files), 100):
        found = explained(apart, five_classes, files[start : start + 100], tmp_path / f"why{start}")
        total = Counted(
            total.answered + found.answered,
            total.refused + found.refused,
            total.seconds + found.seconds,
            max(total.grown, found.grown),
        )
    report(card, "explain, 100 at a time", len(files), total)


def test_serve(tmp_path: Path, five_classes: Path, card: Card) -> None:
    pytest.importorskip("fastapi", reason="allmlp[serve] brings fastapi")
    files = fuzzed.written(tmp_path / "bad", card.times(FULL, QUICK))
    with server(five_classes) as served:
        found = served.count([path.read_bytes() for path in files])
    card.within(found.seconds, 5)
    report(card, "serve, a request each; the slowest request", len(files), found)
