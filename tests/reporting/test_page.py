"""The report as a practitioner, a stranger's file names and a half-finished run meet it."""

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from allmlp.errors import RunError
from allmlp.reporting.page import write_report
from allmlp.reporting.pairs import Pair, confused_pairs
from allmlp.run import Run, read_lines

MakeRun = Callable[..., Run]
NASTY = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style>{{ 7*7 }}",
    "\u202egnp",
    "a\nb",
    "衣服",
    "x" * 300,
)


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] for _, attributes in self.tags if attribute in attributes]


def report(run: Run) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_report_needs_no_network_and_no_script(make_run: MakeRun) -> None:
    page = report(make_run())
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert all(value.startswith(("data:image/png;base64,", "#")) for name in ("src", "href") for value in page.values(name))
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert not re.search(r"https?:|@import|url\((?!#)", page.html)
    assert any(value.startswith("default-src 'none'") for value in page.values("content"))


def test_class_names_are_escaped(make_run: MakeRun) -> None:
    page = report(make_run(classes=NASTY))
    assert not page.all("script")
    assert all(value.startswith("data:") for value in page.values("src"))
    assert not page.values("onerror")
    assert {"<script>alert(1)</script>", "</style>{{ 7*7 }}", "衣服"} <= {piece.strip() for piece in page.pieces}


def test_a_name_cannot_turn_the_numbers_beside_it_around(make_run: MakeRun) -> None:
    assert "\u202e" not in report(make_run(classes=NASTY)).text


def test_the_folder_is_quoted_in_commands(tmp_path: Path, make_run: MakeRun) -> None:
    run = Run(make_run().folder.rename(tmp_path / "my run; rm <b>"))
    text = report(run).text
    assert f"allmlp predict '{run.folder}' picture.jpg" in text
    assert f"allmlp train --recipe '{run.recipe}'" in text
    assert f'allmlp.load("{run.folder}")' in text


def test_the_data_given_to_training_is_in_the_command_that_repeats_it(make_run: MakeRun) -> None:
    run = make_run()
    edit(run.state, data_spec="/data/my pictures")
    assert f"allmlp train '/data/my pictures' --recipe {run.recipe}" in report(run).text


def test_the_headline_states_images_and_interval(make_run: MakeRun) -> None:
    run = make_run()
    edit(run.evaluation / "val.json", top1=0.891)
    assert "89.1% on 1,000 validation images; 95% interval 87.0–90.9%" in report(run).text


def test_top5_is_left_out_for_five_classes_or_fewer(make_run: MakeRun) -> None:
    assert "Top-5 accuracy" not in report(make_run(classes=("a", "b", "c", "d", "e"))).text


def test_test_images_count_before_validation_images_and_the_others_are_mentioned(make_run: MakeRun) -> None:
    text = report(make_run(splits=("val", "test", "my-photos"))).text
    assert "on 1,000 test images" in text
    others = text.split("Other evaluations")[1].split("Most confident mistakes")[0]
    assert "validation images" in others
    assert "my-photos images" in others
    assert "test images" not in others


def test_without_test_and_validation_the_newest_evaluation_is_shown(make_run: MakeRun) -> None:
    assert "on 1,000 images of newer" in report(make_run(splits=("older", "newer"))).text


def test_classes_are_listed_worst_first(make_run: MakeRun) -> None:
    run = make_run()
    rows = json.loads((run.evaluation / "val.json").read_text(encoding="utf-8"))["per_class"]
    table = report(run).text.split("Classes, worst first")[1]
    places = [table.index(f" {row['class']} ") for row in sorted(rows, key=lambda row: row["accuracy"])]
    assert places == sorted(places)


def test_confused_pairs_are_counted_by_hand() -> None:
    counts = np.array([[8, 2, 0], [0, 5, 5], [1, 0, 0]])
    assert confused_pairs(counts, ["a", "b", "c"]) == [
        ((1, 2), Pair("b", "c", 5, 0.5)),
        ((0, 1), Pair("a", "b", 2, 0.2)),
        ((2, 0), Pair("c", "a", 1, 1.0)),
    ]


def test_cells_of_the_matrix_lead_to_pictures_of_their_mistakes(make_run: MakeRun) -> None:
    page = report(make_run())
    links = {value for value in page.values("href") if value.startswith("#pair-")}
    places = {value for value in page.values("id") if value.startswith("pair-")} - {"pair-by-pair"}
    assert links
    assert links == {f"#{place}" for place in places}


@pytest.mark.parametrize(
    ("classes", "matrix", "pairs"), [(20, True, False), (21, True, True), (60, True, True), (61, False, True)]
)
def test_many_classes_have_pairs_in_place_of_counts(make_run: MakeRun, classes: int, matrix: bool, pairs: bool) -> None:
    text = report(make_run(classes=tuple(f"class {i}" for i in range(classes)))).text
    assert ("Confusion matrix" in text) is matrix
    assert ("Most confused pairs" in text) is pairs


def test_report_of_hundred_classes_stays_under_5_mb(make_run: MakeRun) -> None:
    run = make_run(classes=tuple(f"a class with a long name {i}" for i in range(100)), side=160, images=5000)
    assert write_report(run).stat().st_size < 5_000_000


def test_mistakes_are_inlined_and_small_ones_are_scaled_up_crisply(make_run: MakeRun) -> None:
    pictures = report(make_run(side=28)).all("img")
    assert len(pictures) == 2 * 24  # and again pair by pair
    assert all(picture["class"] == "crisp" for picture in pictures)
    assert all("taken for" in picture["alt"] for picture in pictures)


def test_large_mistakes_are_scaled_smoothly(make_run: MakeRun) -> None:
    assert not [picture for picture in report(make_run(side=160)).all("img") if "class" in picture]


@pytest.mark.parametrize("picture", ["../../secret.png", "missing.png", "not-a-picture.png", "\0"])
def test_only_pictures_inside_the_evaluation_folder_are_taken(make_run: MakeRun, picture: str) -> None:
    run = make_run()
    (run.folder.parent / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    (run.evaluation / "not-a-picture.png").write_text("password", encoding="utf-8")
    entry = {"picture": picture, "path": "a.png", "label": "coat", "predicted": "bag", "confidence": 0.9}
    edit(run.evaluation / "val.json", mistakes=[entry])
    page = report(run)
    assert not page.all("img")
    assert "no picture" in page.text


def test_a_perfect_model_has_no_mistakes_to_show(make_run: MakeRun) -> None:
    run = make_run()
    edit(run.evaluation / "val.json", mistakes=[])
    assert "There are none: every one of the 1,000 images was classified right" in report(run).text


def test_a_file_that_failed_in_every_epoch_is_listed_once(make_run: MakeRun) -> None:
    assert report(make_run()).text.count("pictures/coat/torn.jpg") == 1


def test_interrupted_run_still_gets_a_report(make_run: MakeRun) -> None:
    run = make_run(state="stopped", done=7, splits=())
    page = report(run)
    assert "Training was stopped: 7 of 20 epochs are done" in page.text
    assert f"allmlp train --resume {run.folder}" in page.text
    assert page.text.count(f"allmlp evaluate {run.folder} && allmlp report {run.folder}") == 3
    assert "88.0% on 1,000 validation images" in page.text
    assert len(page.all("svg")) == 3


def test_a_run_before_its_first_epoch_gets_a_report(make_run: MakeRun) -> None:
    run = make_run(state="running", done=0, splits=())
    page = report(run)
    assert "No epoch has ended yet" in page.text
    assert f"allmlp evaluate {run.folder}" not in page.text
    assert not page.all("svg")


def test_a_run_of_which_only_its_state_is_left_gets_a_report(tmp_path: Path, make_run: MakeRun) -> None:
    run = Run(tmp_path / "bare")
    run.folder.mkdir()
    make_run().state.rename(run.state)
    text = report(run).text
    assert "The recipe is missing" in text
    assert "The data was not described" in text


def test_losses_that_are_not_finite_are_drawn_around(make_run: MakeRun) -> None:
    run = make_run(done=1)
    line = json.loads(run.metrics.read_text(encoding="utf-8"))
    run.append(run.metrics, {**line, "epoch": 2, "val_loss": float("nan"), "train_loss": float("inf")})
    assert "Every epoch in numbers" in report(run).text


def test_the_image_size_is_drawn_where_it_changes(make_run: MakeRun) -> None:
    run = make_run()
    epochs = read_lines(run.metrics)
    for sizes, drawn in (([16] * len(epochs), False), ([16, *[32] * (len(epochs) - 1)], True)):
        lines = [{**epoch, "img_height": size, "img_width": size} for epoch, size in zip(epochs, sizes, strict=True)]
        run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert ("Image size" in report(run).text) == drawn


def test_a_last_line_cut_short_is_passed_over(make_run: MakeRun) -> None:
    run = make_run()
    with run.metrics.open("a", encoding="utf-8") as lines:
        lines.write('{"epoch": 21, "lr"')
    assert len(report(run).all("svg")) == 5


DAMAGE: dict[str, tuple[str, str]] = {
    "not json": ("run.json", "{"),
    "not an object": ("data.json", "[]"),
    "field missing": ("best.json", '{"format": 1, "name": "resmlp_xs"}'),
    "field of another type": ("environment.json", '"cpu"'),
    "class without a count": ("data.json", '{"classes": ["a"], "train": {"images": 0, "per_class": []}}'),
    "line of another type": ("metrics.jsonl", '{"epoch": "one"}\n'),
    "not utf-8": ("unreadable.jsonl", "\udcff\n"),
    "empty object": ("evaluation/val.json", "{}"),
}


@pytest.mark.parametrize(("file", "content"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files_raise_run_error_and_leave_the_report_before(make_run: MakeRun, file: str, content: str) -> None:
    run = make_run()
    before = write_report(run).read_bytes()
    (run.folder / file).write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(RunError, match=re.escape(file)) as error:
        write_report(run)
    assert error.value.hint
    assert run.report.read_bytes() == before


@pytest.mark.parametrize(
    "changes",
    [
        {"confusion": [[1, 2]]},
        {"confusion": [[0.5] * 10] * 10},
        {"top1": 1.5},
        {"top1": float("nan")},
        {"images": -1},
        {"evaluated": "today"},
    ],
)
def test_an_evaluation_that_contradicts_itself_raises_run_error(make_run: MakeRun, changes: dict[str, object]) -> None:
    run = make_run(splits=("val", "test"))
    edit(run.evaluation / "val.json", **changes)
    with pytest.raises(RunError, match=r"val\.json"):
        write_report(run)


def test_the_same_run_gives_the_same_bytes_and_leaves_nothing_else_behind(make_run: MakeRun) -> None:
    run = make_run()
    first = write_report(run).read_bytes()
    files = sorted(run.folder.rglob("*"))
    assert write_report(run).read_bytes() == first
    assert sorted(run.folder.rglob("*")) == files


def test_every_reference_inside_the_page_has_one_target(make_run: MakeRun) -> None:
    page = report(make_run())
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {value[1:] for value in page.values("href")} | set(re.findall(r"url\(#([^)]+)\)", page.html)) <= set(ids)


def test_the_recipe_is_there_in_full(make_run: MakeRun) -> None:
    run = make_run()
    assert " ".join(run.recipe.read_text(encoding="utf-8").split()) in report(run).text
