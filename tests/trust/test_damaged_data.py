"""A data set of which one file in twenty is damaged is trained on and judged, and every damaged file is named."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from apart import Apart
from doors import SMALL
from PIL import Image
from scorecard import Card, Fault

from allmlp.run import read_json, read_lines

FAULT = Fault(
    50,
    "A damaged data set",
    "of one image in twenty: training and evaluation finish, and the report and the run's files name each",
)
NOBODY = 65_534
pytestmark = pytest.mark.slow


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may enter and write to; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def damaged(root: Path, each: int) -> list[str]:
    """20 · 6 · `each` pictures in three classes, of which one in twenty is damaged; the names of those."""
    number = 0
    for name, colour in (("red", (200, 40, 40)), ("green", (40, 200, 40)), ("blue", (40, 40, 200))):
        (root / name).mkdir(parents=True)
        for _ in range(40 * each):
            Image.new("RGB", (16, 16), tuple(value + number % 40 for value in colour)).save(root / name / f"{number:05}.png")
            number += 1
    files = sorted(root.rglob("*.png"))
    bad = files[7::20]
    for place, path in enumerate(bad):
        kind = place % 6
        content = path.read_bytes()
        if kind == 0:
            path.write_bytes(content[: len(content) // 2])
        elif kind == 1:
            path.write_bytes(b"")
        elif kind == 2:
            path.write_text("words in a file that is called a picture")
        elif kind == 3:
            path.unlink()
            path.symlink_to("nowhere.png")
        elif kind == 4:
            path.unlink()
            path.symlink_to(path.name)  # to itself
        else:
            path.chmod(0)
    (root / "red" / "folder.jpg").mkdir()
    (root / "red" / "up").symlink_to("..")
    (root / "itself").symlink_to("itself")
    jpeg = root / "blue" / "really-a-png.jpg"
    Image.new("RGB", (16, 16), (40, 40, 210)).save(jpeg, "PNG")  # read by its content
    return [str(path) for path in bad]


def test_training_and_evaluation_finish(open_folder: Path, apart: Apart, card: Card) -> None:
    root, out = open_folder / "data", open_folder / "run"
    bad = damaged(root, card.times(8, 1))
    user = NOBODY if os.getuid() == 0 else 0
    more = ("--data.workers", "0", "--train.epochs", "2", "--train.batch", "16", "--train.precision", "fp32")
    refused = apart("train", root, *SMALL, *more, "--out", open_folder / "never", seconds=300, user=user)
    assert refused.status == 2, refused.err[-1500:]
    assert "more than 1.0%" in refused.err
    done = apart("train", root, *SMALL, *more, "--data.max-bad-share", "0.06", "--out", out, seconds=300, user=user)
    assert done.status == 0, done.err[-1500:]
    listed = {record["path"]: record["reason"] for record in read_lines(out / "unreadable.jsonl")}
    assert sorted(listed) == bad
    assert all(listed.values())
    said = read_json(out / "data.json")
    files = 120 * card.times(8, 1) + 1
    assert said["classes"] == ["blue", "green", "red"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(Path(path).name in page for path in bad[:10])
    judged = apart("evaluate", out, root, "--json", seconds=300, user=user)
    assert judged.status == 0, judged.err[-1500:]
    import json

    found = json.loads(judged.out)
    assert found["images"] + found["unreadable"] == files
    assert sorted(row["path"] for row in found["unreadable_files"]) == bad[: len(found["unreadable_files"])]
    who = "as a user who may not read some" if user else "as root's like, whom permissions do not stop"
    card.seen(
        f"cut short, empty, of another kind, dangling and circular links, unreadable ({who}); folders x.jpg, loops of folders",
        len(bad),
        f"of {files:,} images all {len(bad)} named with a reason; accuracy {found['top1']:.0%} of {found['images']:,}",
    )
