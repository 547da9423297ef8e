"""The inference benchmark: its arithmetic by hand, and one small measurement."""

from pathlib import Path
from types import ModuleType

import pytest

from allmlp.engine.backends.base import DTYPES
from allmlp.engine.plans.products import broken
from allmlp.run import read_json, write_json
from helpers import benchmark


@pytest.fixture(scope="module")
def inference() -> ModuleType:
    return benchmark("inference")


def test_a_cell_says_median_spread_and_how_many_times_as_fast_as_eager(inference: ModuleType) -> None:
    cell = inference.Cell("m", 2, 1, 10, {"eager fp32": [0.2, 0.2, 0.4], "allmlp torch fp32": [0.09, 0.1, 0.11]})
    assert inference.median_and_spread([1.0, 2.0, 3.0, 4.0, 5.0]) == (3.0, 1.0)
    assert inference.median_and_spread([1.0]) == (1.0, 0.0)
    shown = inference.table([cell])
    assert "| m b2, 1 thread |" in shown
    assert "| allmlp torch fp32 | 100.0 ± 5.0 (2.00) |" in shown


def test_the_verdict_is_our_best_against_the_best_peer_of_the_same_precision(inference: ModuleType) -> None:
    seconds = {
        "limit oneDNN fp32": [0.04],
        "limit oneDNN bf16": [0.01],
        "eager fp32": [0.2],
        "OpenVINO fp32": [0.06],
        "OpenVINO bf16": [0.02],
        "ONNX Runtime int8": [0.001],
        "allmlp torch fp32": [0.05],
        "allmlp openvino fp32": [0.08],
    }
    assert inference.verdicts([inference.Cell("m", 1, 1, 10, seconds)]) == [
        "- m, batch 1, 1 thread, fp32: allmlp torch fp32 at 1.20 × the best peer (OpenVINO fp32), 80% of the limit"
    ]


def test_a_product_is_timed_as_the_images_its_multiply_adds_are_enough_for(inference: ModuleType) -> None:
    one = sum(rows * inputs * outputs for rows, inputs, outputs in inference.SHAPES)
    assert inference._share("limit oneDNN fp32", inference.Cell("m", 8, 1, one)) == inference.REPEATS
    assert inference._share("eager fp32", inference.Cell("m", 8, 1, one)) == 8


def test_it_measures_writes_and_reads_again(
    inference: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    found, page = tmp_path / "build" / "inference.json", tmp_path / "docs" / "inference.md"
    words = ["--models", "resmlp_xs", "--batches", "2", "--rounds", "1", "--quick", "--without", "compile", "ONNX", "OpenVINO"]
    assert inference.main([*words, "onnx", "openvino", "--json", str(found)]) == 0
    (cell,) = read_json(found)["cells"]
    assert set(cell["seconds"]) == {
        "limit F.linear fp32",
        "eager fp32",
        "eager bf16",
        *(f"{what} {name}" for name, dtype in DTYPES.items() if not broken(dtype) for what in ("limit oneDNN", "allmlp torch")),
    }
    assert all(value > 0 for values in cell["seconds"].values() for value in values)
    capsys.readouterr()
    assert inference.main(["--from", str(found), "--page", str(page), "--machine", "a test"]) == 0
    assert capsys.readouterr().out.strip() in page.read_text()
    assert "Measured on a test" in page.read_text()


def test_cells_of_several_files_come_in_tables_by_their_threads(inference: ModuleType, tmp_path: Path) -> None:
    files, page = [tmp_path / "two.json", tmp_path / "one.json"], tmp_path / "page.md"
    for path, threads, rounds in zip(files, (2, 1), (3, 5), strict=True):
        cell = {"model": "m", "batch": 8, "threads": threads, "macs": 10, "seconds": {"eager fp32": [0.2] * rounds}}
        write_json(path, {"environment": {"torch": "2", "timm": "1"}, "cells": [cell]})
    assert inference.main(["--from", *map(str, files), "--page", str(page)]) == 0
    written = page.read_text()
    assert "3-5 rounds of each cell" in written
    assert written.index("| m b8, 1 thread |") < written.index("| m b8, 2 threads |")
