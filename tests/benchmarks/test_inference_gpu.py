"""The GPU benchmark: its arithmetic by hand, and what it says where there is no GPU."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

from allmlp.engine.cost import multiply_adds
from allmlp.models import create_model
from allmlp.run import write_json
from helpers import benchmark


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    return benchmark("inference_gpu")


SECONDS = {
    "floor": [0.004, 0.004],
    "timm eager": [0.020, 0.020],
    "timm eager channels-last": [0.018, 0.018],
    "timm torch.compile max-autotune": [0.010, 0.010],
    "allmlp cuda": [0.005, 0.005],
    "allmlp compile": [0.008, 0.008],
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_a_line(bench: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bench.main(["--json", str(tmp_path / "found.json")]) == 2
    said = capsys.readouterr()
    assert said.err == "inference_gpu: there is no CUDA device, or this torch cannot use it\n"
    assert said.out == ""


def test_a_cell_says_milliseconds_times_eager_and_the_share_of_the_floor(bench: ModuleType) -> None:
    shown = bench.table([bench.Cell("m", 256, 10, SECONDS)])
    assert "| m b256 |" in shown
    assert "| allmlp cuda | 5.000 ± 0.000 (4.00, 80%) |" in shown


def test_the_verdict_is_our_best_against_the_better_eager_form(bench: ModuleType) -> None:
    assert bench.verdicts([bench.Cell("m", 256, 10, SECONDS)]) == [
        "- m, batch 256: allmlp cuda at 3.60 × eager, 2.00 × torch.compile, 80% of the floor's speed"
    ]


def test_what_was_measured_in_the_same_environment_is_not_measured_again(bench: ModuleType, tmp_path: Path) -> None:
    path, about = tmp_path / "found.json", {"device": "a GPU", "rounds": 9}
    assert bench.known(path, about) == {}
    write_json(path, {"environment": about, "cells": [{"model": "m", "batch": 1, "macs": 10, "seconds": SECONDS}]})
    assert bench.known(path, about) == {("m", 1): bench.Cell("m", 1, 10, SECONDS)}
    assert bench.known(path, about | {"device": "another GPU"}) == {}


def test_a_cell_without_somebody_who_is_wanted_is_measured_again(bench: ModuleType) -> None:
    half = bench.Cell("m", 1, 10, {key: spent for key, spent in SECONDS.items() if "compile" not in key})
    assert bench._whole(bench.Cell("m", 1, 10, SECONDS), [])
    assert bench._whole(half, ["compile"])
    assert not bench._whole(half, [])
    assert not bench._whole(None, [])


def test_the_page_names_who_was_left_out_and_why(bench: ModuleType) -> None:
    cell = bench.Cell("m", 1, 10, SECONDS, {"allmlp compile": "no compiler"})
    written = bench.page([cell], {"device": "a GPU", "torch": "2", "timm": "1", "rounds": 9}, None)
    assert "Measured on a GPU, torch 2, timm 1" in written
    assert "- left out: allmlp compile, m b1: no compiler" in written


def test_resmlp_s24_at_256_images_is_as_much_work_as_the_floor_was_reckoned_with() -> None:
    with torch.device("meta"):
        macs = multiply_adds(create_model("resmlp_s24"))
    assert 2 * macs * 256 == pytest.approx(3.05e12, rel=0.01)
