"""JSON is JSON: whatever the house writes, a parser takes that knows no NaN."""

import ast
import contextlib
import io
import json
import math
import tempfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import allmlp
from allmlp.commands.words import print_json
from allmlp.run import Run, read_json, read_lines, write_json
from allmlp.strict_json import to_json

ROOT = Path(__file__).parent.parent
WRITERS = {"dump", "dumps", "JSONEncoder"}
ALLOWED = "src/allmlp/strict_json.py"


def strict(text: str) -> Any:
    """As JavaScript, jq and most other parsers read it."""

    def refuse(name: str) -> NoReturn:
        raise AssertionError(f"bare {name}")

    return json.loads(text, parse_constant=refuse)


def written_by_json_itself(source: str) -> list[str]:
    """Names by which this code reaches json's own writers, under whatever name it imports them."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    modules = {alias.asname or alias.name for node in imports for alias in node.names if alias.name in ("json", "simplejson")}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("json", "simplejson"):
            found += [alias.name for alias in node.names if alias.name in WRITERS]
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found += [node.attr] if node.attr in WRITERS else []
    return found


def test_the_search_knows_what_it_looks_for() -> None:
    assert written_by_json_itself("import json\njson.dumps(1)") == ["dumps"]
    assert written_by_json_itself("import json as j\nwrite = j.dump") == ["dump"]
    assert written_by_json_itself("from json import dumps as d") == ["dumps"]
    assert written_by_json_itself("import json\njson.loads('1')\nother.dumps(1)") == []


def test_nothing_writes_json_but_the_one_function() -> None:
    files = [path for part in ("src", "benchmarks", "scripts", "examples") for path in (ROOT / part).rglob("*.py")]
    found = {path.relative_to(ROOT).as_posix(): written_by_json_itself(path.read_text(encoding="utf-8")) for path in files}
    assert [name for name, writers in found.items() if writers and name != ALLOWED] == []
    assert found[ALLOWED]


NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.booleans() | st.none() | st.text()
PLAIN = st.recursive(NUMBERS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


def expected(value: Any) -> Any:
    """The value as it is read back, by another way: what Python's own reader makes of Python's own writing."""
    return json.loads(json.dumps(value), parse_constant=lambda name: None)


@given(PLAIN, st.booleans(), st.none() | st.integers(0, 3))
def test_whatever_is_written_is_read_back_by_a_strict_parser(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = to_json(value, ascii_only=ascii_only, indent=indent)
    assert strict(text) == expected(value)
    assert not ascii_only or text.isascii()


@given(st.recursive(st.floats(allow_nan=False, allow_infinity=False) | st.text(), st.lists))
def test_finite_values_are_written_as_python_writes_them(value: Any) -> None:
    """Digests are made of such text."""
    assert to_json(value) == json.dumps(value)


def test_numbers_of_numpy_and_tuples_count_too() -> None:
    assert to_json({"a": np.float64("nan"), "b": (1.0, -math.inf)}) == '{"a": null, "b": [1.0, null]}'


def test_what_is_no_json_is_refused() -> None:
    around: list[Any] = [math.nan]
    around.append(around)
    with pytest.raises(ValueError, match="contains itself"):
        to_json(around)
    with pytest.raises(TypeError):
        to_json({"path": Path()})
    with pytest.raises(ValueError, match="JSON"):
        to_json({math.nan: 1.0})


@given(PLAIN)
def test_files_lines_and_stdout_are_strict(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        write_json(run.state, value)
        assert strict(run.state.read_text(encoding="utf-8")) == read_json(run.state) == expected(value)
        run.append(run.metrics, {"value": value})
        assert [strict(run.metrics.read_text(encoding="utf-8"))] == read_lines(run.metrics) == [{"value": expected(value)}]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        print_json(value)
    assert strict(out.getvalue()) == expected(value)


def test_files_of_an_older_allmlp_with_bare_numbers_are_still_read(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"val_loss": NaN}\n')
    assert math.isnan(read_lines(tmp_path / "metrics.jsonl")[0]["val_loss"])


def test_the_report_reads_null_as_not_measured(stripes: Path, small_recipe: Any, tmp_path: Path) -> None:
    """And says nothing of NaN, whichever column it stands in."""
    run = allmlp.train(stripes, recipe=small_recipe(train={"ema": 0.9, "log_every": 1}), out=tmp_path / "run", quiet=True)
    lines, steps = read_lines(run.metrics), read_lines(run.steps)
    columns = ("train_loss", "val_loss", "val_top1", "train_top1", "ema_loss", "ema_top1")
    run.steps.write_text("".join(to_json({**line, "grad_norm": math.nan}) + "\n" for line in steps), encoding="utf-8")
    for spoiled in (*((name,) for name in columns), columns):
        for since in (0, 2):
            records = [{**line, **(dict.fromkeys(spoiled) if place >= since else {})} for place, line in enumerate(lines)]
            run.metrics.write_text("".join(to_json(line) + "\n" for line in records), encoding="utf-8")
            page = allmlp.report(run).read_text(encoding="utf-8").lower()
            assert ">nan<" not in page
            assert "loss nan" not in page
