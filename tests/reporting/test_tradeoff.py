"""The scatter plot of accuracy against cost, read back from the drawing."""

from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox
from PIL import Image

from allmlp.errors import AllmlpError
from allmlp.profiling.published import _records
from allmlp.profiling.rows import Profile, Row
from allmlp.reporting import tradeoff
from allmlp.reporting.ink import LIGHT, ROLES, STYLESHEET
from allmlp.reporting.tradeoff import COSTS, FAMILIES, Point, accuracy_against_cost, points, round_ticks, write_tradeoff

ABOUT = {"threads": 2, "device": "cpu", "precision": "fp32", "batch": 32}
TABLE1 = [
    Row(
        name=name,
        kind="allmlp" if record.family == "ResMLP" else "timm",
        folded=False,
        batch=32,
        img_size=(record.size, record.size),
        macs=int(1e9 * (record.gmacs or 0)),
        batch_seconds=[32 / record.images_per_s],
        published=record,
    )
    for name, record in _records().items()
    if record.images_per_s is not None
]


def drawn(found: list[Point]) -> tuple[Figure, Axes]:
    figure = accuracy_against_cost(found, title="t", note="n", axis="a")
    return figure, figure.axes[0]


def boxes(figure: Figure) -> dict[str, Bbox]:
    renderer: Any = FigureCanvasAgg(figure).get_renderer()
    return {t.get_text(): t.get_window_extent(renderer) for t in figure.axes[0].texts if isinstance(t, Annotation)}


def test_table_1_has_every_name_once_none_on_another_nor_on_a_dot_nor_outside() -> None:
    figure, axes = drawn(points(TABLE1, "images"))
    places = boxes(figure)
    assert set(places) == {row.published.label for row in TABLE1 if row.published}
    assert not [(a, b) for a, b in combinations(places, 2) if places[a].overlaps(places[b])]
    dots = axes.transData.transform([(p.cost, p.top1) for p in points(TABLE1, "images")])
    assert not [name for name, box in places.items() for dot in dots if box.contains(*dot)]
    frame = axes.get_window_extent()
    assert all(
        frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1 for box in places.values()
    )


def test_a_family_has_one_colour_for_its_line_its_dots_and_its_names() -> None:
    _, axes = drawn([Point("A-1", "A", 1, 70), Point("B-1", "B", 2, 71), Point("A-2", "A", 3, 72)])
    assert [line.get_color() for line in axes.get_lines()] == list(FAMILIES[:2])
    names = {t.get_text(): t.get_color() for t in axes.texts if isinstance(t, Annotation)}
    assert names == {"A-1": FAMILIES[0], "A-2": FAMILIES[0], "B-1": FAMILIES[1]}


def test_what_is_no_all_mlp_is_hollow_and_the_note_says_so() -> None:
    figure, axes = drawn([Point("A", "A", 1, 70), Point("B", "B", 2, 71, hollow=True)])
    faces = [matplotlib.colors.to_hex(np.asarray(dots.get_facecolor())[0]) for dots in axes.collections]
    assert faces == [FAMILIES[0], LIGHT["page"]]
    assert "hollow" in figure.texts[-1].get_text()
    assert "hollow" not in drawn([Point("A", "A", 1, 70)])[0].texts[-1].get_text()


def test_in_a_crowd_only_a_familys_best_has_its_whole_name() -> None:
    crowd = [Point(f"Net-{i}", "Net", 1.2**i, 70 + i / 10) for i in range(25)]
    assert {"Net-24", "23", "0"} < set(boxes(drawn(crowd)[0]))
    assert "Net-23" in boxes(drawn(crowd[:24][-10:])[0])


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (4, 55, [5, 10, 20, 50]),
        (0.9, 1100, [1, 10, 100, 1000]),
        (0.02, 3, [0.03, 0.1, 0.3, 1, 3]),
        (31, 49, [35, 40]),
        (0.011, 0.058, [0.015, 0.02, 0.03, 0.05]),
    ],
)
def test_ticks_are_few_and_round(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


def test_one_model_alone_can_be_drawn() -> None:
    figure, axes = drawn([Point("A", "A", 40, 70)])
    assert boxes(figure).keys() == {"A"}
    low, high = axes.get_xlim()
    assert low < 40 < high
    assert len(axes.get_xticks()) >= 1


def test_rows_without_a_published_accuracy_or_without_the_cost_are_left_out() -> None:
    unpublished = Row(name="mine", kind="run", folded=False, batch=32, batch_seconds=[1.0])
    unmeasured = Row(name="x", kind="timm", folded=False, batch=32, published=TABLE1[0].published)
    assert points([unpublished, unmeasured], "images") == []
    assert [p.cost for p in points(TABLE1, "macs")] == [row.published.gmacs for row in TABLE1 if row.published]


@pytest.mark.parametrize("device", ["cpu", "NVIDIA RTX PRO 6000 Blackwell"])
@pytest.mark.parametrize("cost", COSTS)
def test_each_costs_title_note_and_axis_fit_on_the_sheet(
    cost: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [Row(**{**row.__dict__, "single_seconds": [0.1], "parameters": 10**7, "peak_bytes": 10**9}) for row in TABLE1[-4:]]
    figures: list[Figure] = []
    monkeypatch.setattr(tradeoff, "write_figure", lambda figure, path: figures.append(figure))
    assert write_tradeoff(Profile(rows, ABOUT | {"device": device}), tmp_path / "p.svg", cost=cost) == 4
    renderer: Any = FigureCanvasAgg(figures[0]).get_renderer()
    ends = [text.get_window_extent(renderer).x1 for text in [*figures[0].texts, figures[0].axes[0].xaxis.label]]
    assert max(ends) <= figures[0].bbox.x1


def test_files_are_a_picture_of_two_dots_a_pixel_and_a_drawing_without_fonts(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    for name in ("p.png", "p.SVG"):
        assert write_tradeoff(Profile(TABLE1, ABOUT), tmp_path / name) == 12
    assert dict(matplotlib.rcParams) == before
    with Image.open(tmp_path / "p.png") as picture:
        assert picture.size == (2 * 780, 2 * 512)
        assert matplotlib.colors.to_hex(np.array(picture.convert("RGB"))[0, 0] / 255) == LIGHT["page"]
    svg = (tmp_path / "p.SVG").read_text(encoding="utf-8")
    assert "<text" not in svg
    assert not [placeholder for placeholder in ROLES if placeholder in svg]
    assert svg == _again(tmp_path)


def _again(folder: Path) -> str:
    write_tradeoff(Profile(TABLE1, ABOUT), folder / "again.svg")
    return (folder / "again.svg").read_text(encoding="utf-8")


def test_the_light_colours_are_the_pages() -> None:
    assert set(ROLES.values()) | {"page"} <= set(LIGHT)
    assert f"--accent: {LIGHT['accent']}" in STYLESHEET
    assert len(set(FAMILIES)) == len(FAMILIES)


@pytest.mark.parametrize("colour", FAMILIES)
def test_names_can_be_read_on_the_page(colour: str) -> None:
    """Contrast of at least 4.5 : 1, as WCAG asks of small letters."""
    dark, light = (_luminance(c) for c in (colour, LIGHT["page"]))
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def _luminance(colour: str) -> float:
    channels = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


@pytest.mark.parametrize(
    ("file", "cost", "said"),
    [
        ("p.pdf", "images", "neither a .png nor an .svg"),
        ("no/p.png", "images", "no folder"),
        ("p.png", "price", "no cost 'price'"),
    ],
)
def test_a_plot_that_cannot_be_written_is_refused(file: str, cost: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(AllmlpError, match=said) as error:
        write_tradeoff(Profile(TABLE1, ABOUT), tmp_path / file, cost=cost)
    assert error.value.hint
    assert list(tmp_path.iterdir()) == []


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(AllmlpError, match="nothing to plot"):
        write_tradeoff(Profile([], ABOUT), Path("p.png"))
