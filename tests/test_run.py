"""The run folder: written whole or not at all, read with words for what is wrong."""

import json
import os
from pathlib import Path

import pytest
import torch

from allmlp.errors import RunError
from allmlp.files import cache_folder, whole_file
from allmlp.run import FORMAT, MOST_BYTES, Run, read_json, read_lines, write_json
from allmlp.weights.files import read_tensors


def test_a_new_run_makes_its_folders(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "runs" / "first")
    assert run.folder.is_dir()
    assert list(run.folder.iterdir()) == []
    assert Run.create(run.folder).folder == run.folder  # an empty folder will do


def test_everything_lies_in_the_folder_under_its_name(tmp_path: Path) -> None:
    run = Run(tmp_path)
    paths = (run.recipe, run.state, run.environment, run.data, run.metrics, run.log, run.checkpoints, run.steps, run.unreadable)
    assert [p.name for p in paths] == [
        "recipe.toml",
        "run.json",
        "environment.json",
        "data.json",
        "metrics.jsonl",
        "log.txt",
        "checkpoints",
        "steps.jsonl",
        "unreadable.jsonl",
    ]
    assert {p.parent for p in (*paths, run.report, run.evaluation, run.weights())} == {tmp_path}
    assert (run.weights().name, run.weights("last").name) == ("best.safetensors", "last.safetensors")


def test_a_folder_in_use_is_refused_with_how_to_continue(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match="is not empty") as error:
        Run.create(tmp_path)
    assert f"--resume {tmp_path}" in error.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_be_made_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written: ") as error:
        Run.create(tmp_path / name)
    assert "--out" in error.value.hint


def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(RunError, match="cannot be written: No space left on device"):
        Run.create(tmp_path / "run")


def test_what_cannot_be_written_is_a_run_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    closed = Run(tmp_path / "file")  # a file where a folder should be refuses every user, root too
    writes = {
        "metrics.jsonl": lambda: closed.append(closed.metrics, {}),
        "run.json": lambda: write_json(closed.state, {}),
        "best.safetensors": lambda: closed.write_model("best", {"a": torch.zeros(1)}, {}),
        "file": closed.check_writable,
    }
    for name, write in writes.items():
        with pytest.raises(RunError, match=f"{name} cannot be written: ") as error:
            write()
        assert error.value.hint


def test_lines_that_may_not_be_read_are_a_run_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.jsonl").touch()
    monkeypatch.setattr(Path, "read_bytes", closed)
    with pytest.raises(RunError, match=r"a\.jsonl cannot be read: Permission denied"):
        read_lines(tmp_path / "a.jsonl")


@pytest.mark.parametrize("make", [lambda p: None, Path.touch, Path.mkdir], ids=["nothing", "a file", "an empty folder"])
def test_what_is_no_run_folder_is_not_opened(make: object, tmp_path: Path) -> None:
    make(tmp_path / "run")  # type: ignore[operator]
    with pytest.raises(RunError, match="is not a run folder"):
        Run.open(tmp_path / "run")


def test_a_folder_with_its_state_is_opened(tmp_path: Path) -> None:
    write_json(Run(tmp_path).state, {"state": "running"})
    assert Run.open(str(tmp_path)) == Run(tmp_path)


def test_json_keeps_values_and_is_readable_by_people(tmp_path: Path) -> None:
    value = {"classes": ["Käse", "猫"], "share": 0.1, "none": None, "nested": [{"a": 1}]}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == value
    assert "Käse" in text
    assert text.endswith("}\n")
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"old": True})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"new": object()})

    def interrupted() -> None:
        with whole_file(tmp_path / "a.json") as half:
            half.write_text("{")
            assert read_json(tmp_path / "a.json") == {"old": True}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_json(tmp_path / "a.json") == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_whole_file_keeps_its_suffix_while_it_is_written(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.html") as half:
        assert (half.suffix, half.parent) == (".html", tmp_path)
        half.write_text("done")
    assert (tmp_path / "a.html").read_text() == "done"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000], ids=["empty", "cut", "no text", "deep"])
def test_damaged_json_is_a_run_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(RunError, match=r"a\.json cannot be read") as error:
        read_json(tmp_path / "a.json")
    assert error.value.hint


def test_json_larger_than_any_of_ours_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # takes no room on the disk
    with pytest.raises(RunError, match="is larger than"):
        read_json(tmp_path / "a.json")


def test_missing_json_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"a\.json is missing"):
        read_json(tmp_path / "a.json")
    with pytest.raises(RunError, match="cannot be read"):
        read_json(tmp_path)


RECORDS = [
    {"epoch": 1, "loss": 0.5},
    {"path": "Käse/猫.png", "reason": "two\nlines"},
    {"path": "a\u2028b\x85c\x1ed.png"},  # these break lines for str.splitlines, and JSON leaves them as they are
]


@pytest.mark.parametrize("record", RECORDS, ids=["numbers", "words", "odd line breaks"])
def test_lines_come_back_as_they_were_appended(record: dict[str, object], tmp_path: Path) -> None:
    run = Run(tmp_path)
    for _ in range(2):
        run.append(run.metrics, record)
    assert read_lines(run.metrics) == [record, record]


def test_a_file_without_lines_is_empty(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []


def test_a_last_line_cut_anywhere_is_left_out(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.append(run.metrics, {"epoch": 1})
    run.append(run.metrics, {"epoch": 2, "note": "Käse 猫"})
    content = run.metrics.read_bytes()
    first = content.index(b"\n") + 1
    for length in range(first, len(content) - 1):  # in the middle of a letter, too
        run.metrics.write_bytes(content[:length])
        assert read_lines(run.metrics) == [{"epoch": 1}]


def test_a_line_after_one_that_a_crash_cut_is_not_glued_to_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.append(run.metrics, {"epoch": 1, "note": "Käse 猫"})
    content = run.metrics.read_bytes()
    for length in range(1, len(content)):  # in the middle of a letter, too; without its newline the line is whole
        run.metrics.write_bytes(content[:length])
        run.append(run.metrics, {"epoch": 2})
        *before, last = read_lines(run.metrics)
        assert last == {"epoch": 2}
        assert len(before) == (length == len(content) - 1)


def test_a_line_nested_without_end_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"epoch": 1}\n' + "[" * 100_000 + "\n" + '{"epoch": 2}\n', encoding="utf-8")
    assert [record["epoch"] for record in read_lines(tmp_path / "a.jsonl")] == [1, 2]


def test_lines_that_are_no_text_are_a_run_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"epoch": 1}\n\xff\xfe\n')
    with pytest.raises(RunError, match=r"a\.jsonl is not UTF-8") as error:
        read_lines(tmp_path / "a.jsonl")
    assert error.value.hint


def test_weights_are_described_by_the_json_beside_them(tmp_path: Path) -> None:
    Run(tmp_path).write_model("best", {"a": torch.arange(3.0)}, {"family": "resmlp"})
    assert read_tensors(tmp_path / "best.safetensors")["a"].tolist() == [0, 1, 2]
    assert json.loads((tmp_path / "best.json").read_text()) == {"format": FORMAT, "family": "resmlp"}


def test_a_description_is_never_there_without_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("allmlp.run.write_tensors", full)
    with pytest.raises(RunError, match=r"best\.safetensors cannot be written: No space left"):
        Run(tmp_path).write_model("best", {}, {})
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_utf8_are_written_and_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9 \xf0\x9f\x90\x88.png")
    run = Run.create(tmp_path / "run")
    write_json(run.state, {"path": name})
    run.append(run.unreadable, {"path": name})
    assert read_json(run.state) == {"path": name} == read_lines(run.unreadable)[0]


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.delenv("ALLMLP_CACHE", raising=False)
    with pytest.raises(RunError, match="no home folder") as caught:
        cache_folder()
    assert "set HOME" in caught.value.hint
    monkeypatch.setenv("ALLMLP_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")


def test_what_a_kill_left_half_written_goes_and_nothing_else_does(tmp_path: Path) -> None:
    with whole_file(tmp_path / "best.safetensors") as temporary:
        (tmp_path / temporary.name.replace(".best", ".last")).touch()  # as a kill leaves it
    (tmp_path / "best.safetensors").unlink()
    for other in (".gitignore", ".local.settings", "best.json"):
        (tmp_path / other).touch()
    assert len(list(tmp_path.iterdir())) == 4
    Run(tmp_path).tidy()
    assert {path.name for path in tmp_path.iterdir()} == {".gitignore", ".local.settings", "best.json"}


@pytest.mark.parametrize("left", [".write-test", ".recipe.toml.ab12_xyz.toml"])
def test_a_run_killed_before_its_first_file_begins_again(left: str, tmp_path: Path) -> None:
    (tmp_path / left).touch()
    with pytest.raises(RunError, match="is not empty"):
        Run.create(tmp_path)
    Run.create(tmp_path, over=True)
    assert not list(tmp_path.iterdir())


def test_weights_and_their_description_are_both_old_when_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path)
    run.write_model("best", {"a": torch.ones(1)}, {"epoch": 1})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for place in ("_store", "write_tensors"):
        with monkeypatch.context() as patch:
            patch.setattr(f"allmlp.run.{place}", full)
            with pytest.raises(RunError, match="No space left"):
                run.write_model("best", {"a": torch.zeros(1)}, {"epoch": 2})
        assert read_json(tmp_path / "best.json")["epoch"] == 1
        assert read_tensors(tmp_path / "best.safetensors")["a"] == 1
        assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("said", ["[]", "7", "{}", '{"data_spec": 7}'])
def test_a_run_that_does_not_say_where_its_images_are_is_refused(said: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(said)
    with pytest.raises(RunError, match="is not what allmlp wrote there"):
        Run.open(tmp_path).data_spec()
