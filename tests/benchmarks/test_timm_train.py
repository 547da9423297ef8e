"""timm's training as the bar: its pieces fit together, and learn what can be learnt."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "timm_train.py"


@pytest.mark.slow
def test_red_and_blue_are_told_apart_within_seconds(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for part, count in (("train", 16), ("val", 8)):
        for name, channel in (("blue", 2), ("red", 0)):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = draws.integers(0, 100, (32, 32, 3), dtype=np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(folder / f"{i}.png")
    words = "--minutes 0.1 --img-size 32 --dim 16 --depth 1 --batch 8 --mixup 0.1 --cutmix 0 --jitter 0 --scale 1 1 --lr 1e-2"
    out = tmp_path / "found.json"
    command = [sys.executable, str(SCRIPT), str(tmp_path), *words.split(), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["top1"] > 0.9
    assert found["epochs"] >= 4
