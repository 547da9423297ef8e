"""The table, read back."""

import csv
import io
from dataclasses import replace

from allmlp.profiling.published import published
from allmlp.profiling.rows import Row
from allmlp.profiling.table import blocks, columns, comma_separated, markdown

DONE = Row(
    name="resmlp_s12",
    kind="allmlp",
    folded=False,
    batch=32,
    img_size=(224, 224),
    parameters=15_350_872,
    macs=3_009_739_776,
    activations=5_495_272,
    channels_last=False,
    peak_bytes=188 * 2**20,
    batch_seconds=[1.0, 1.0, 1.0],
    single_seconds=[0.05, 0.05, 0.05],
    published=published("resmlp_s12", (224, 224)),
)
BROKEN = Row(name="a|b", kind="run", folded=False, batch=32, error="it broke")


def read(text: str) -> list[list[str]]:
    lines = [line.strip("|").replace(r"\|", "¦").split("|") for line in text.splitlines()]
    return [[cell.strip() for cell in line] for line in lines]


def test_cells_have_units_people_read() -> None:
    heading, rule, row = read(markdown(columns([DONE], papers=False), [DONE]))
    assert len(heading) == len(rule) == len(row)
    shown = dict(zip(heading, row, strict=True))
    assert shown | {"±": ""} == {
        "model": "resmlp_s12",
        "parameters, M": "15.35",
        "GMACs": "3.01",
        "activations, M": "5.5",
        "size": "224×224",
        "images/s": "32",
        "±": "",
        "ms, 1 image": "50",
        "peak MiB": "188",
    }


def test_the_papers_numbers_stand_beside_ours_when_asked_for() -> None:
    _, _, row = read(markdown(columns([DONE], papers=True), [DONE]))
    assert row[-6:] == ["76.6 %", "15", "3", "1415.1", "179.5", "ResMLP, Table 1 (arXiv:2105.03404)"]


def test_a_failure_is_a_row_with_its_reason_and_dashes() -> None:
    _, _, done, broken = read(markdown(columns([DONE, BROKEN], papers=True), [DONE, BROKEN]))
    assert (done[-1], broken[0], broken[-1]) == ("-", "a¦b", "it broke")
    assert set(broken[1:-1]) == {"-"}


def test_csv_has_plain_numbers_and_nothing_where_there_is_none() -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated([DONE, replace(BROKEN)], papers=True))))
    assert rows[0]["parameters"] == "15350872"
    assert float(rows[0]["images_per_s"]) == 32
    assert rows[0]["published_images_per_s"] == "1415.1"
    assert rows[0]["error"] == ""
    assert rows[1]["images_per_s"] == ""
    assert rows[1]["error"] == "it broke"


def test_on_a_narrow_terminal_the_table_becomes_several_that_fit_each_with_the_names() -> None:
    chosen = columns([DONE], papers=True)
    assert blocks(chosen, [DONE], width=1000) == [chosen]
    tables = blocks(chosen, [DONE], width=60)
    assert len(tables) > 2
    assert [column for table in tables for column in table[1:]] == chosen[1:]
    for table in tables:
        assert table[0] is chosen[0]
        assert not table[1].follows
        widths = [max(len(column.heading), len(column.cell(DONE))) for column in table]
        assert sum(widths) + 2 * (len(widths) - 1) <= 60


def test_a_column_wider_than_the_terminal_has_a_table_of_its_own() -> None:
    tables = blocks(columns([BROKEN], papers=False), [replace(BROKEN, error="x" * 200)], width=40)
    assert [column.heading for column in tables[-1]] == ["model", "failed"]
