"""Pictures at addresses: the same as on the disk, and what is said when they cannot be had."""

import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from allmlp.data import addresses
from allmlp.data.pictures import list_pictures
from allmlp.data.stream import stream, stretches, survey
from allmlp.errors import DataError
from allmlp.pixels.read import UnreadableImage
from helpers import picture

NUMBERS = range(7)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same seven pictures as files, in shards, in a table, and beside things that are none."""
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))
    files, packed = tmp_path / "set" / "files", tmp_path / "set" / "packed"
    (files / "more").mkdir(parents=True)
    packed.mkdir()
    for i in NUMBERS:
        picture(i).save(files / f"{i}.png" if i < 4 else files / "more" / f"{i}.png")
    (files / "notes.txt").write_text("no picture")
    (files / ".hidden.png").write_bytes(b"not to be seen")
    for number, part in enumerate((NUMBERS[:3], NUMBERS[3:])):
        with tarfile.open(packed / f"{number}.tar", "w") as archive:
            for i in part:
                archive.add(next(files.rglob(f"{i}.png")), f"{i}.png")
    with tarfile.open(tmp_path / "set" / "all.tar.gz", "w:gz") as archive:
        for i in NUMBERS:
            archive.add(next(files.rglob(f"{i}.png")), f"{i}.png")
    return tmp_path / "set"


@pytest.fixture
def memory(here: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    for path in here.rglob("*"):
        if path.is_file():
            files.pipe_file(f"/bucket/{path.relative_to(here).as_posix()}", path.read_bytes())
    yield "memory://bucket"
    files.rm("/bucket", recursive=True)


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def web(here: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp", reason="allmlp[shards] brings aiohttp")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(here)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def seen(source: str) -> list[bytes]:
    """Pixels of every picture, and how many a survey promises."""
    found = [each.open(3).tobytes() for each in stream([source])]
    assert survey([source]).count == len(found)
    return found


DUE = [picture(i).tobytes() for i in NUMBERS]
FORMS = ["files", "packed", "packed/{0..1}.tar", "packed/*.tar", "all.tar.gz"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("protocol", ["memory", "file", "web"])
def test_an_address_gives_the_pictures_of_its_folder_in_order(
    form: str, protocol: str, here: Path, request: pytest.FixtureRequest
) -> None:
    root = f"file://{here}" if protocol == "file" else request.getfixturevalue(protocol)
    assert seen(f"{root}/{form}") == DUE


def test_a_table_at_an_address_is_read_too(memory: str, here: Path) -> None:
    arrow, parquet = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet"))
    contents = [next(here.rglob(f"{i}.png")).read_bytes() for i in NUMBERS]
    file = io.BytesIO()
    parquet.write_table(arrow.table({"image": [{"bytes": each, "path": None} for each in contents]}), file)
    fsspec.filesystem("memory").pipe_file("/bucket/all.parquet", file.getvalue())
    assert seen(f"{memory}/all.parquet") == DUE


def test_pictures_are_called_by_their_addresses(memory: str, here: Path) -> None:
    assert next(stream([f"{memory}/files"])).name == "memory:///bucket/files/0.png"  # as fsspec writes it
    assert next(stream([f"{memory}/packed"])).name == "memory:///bucket/packed/0.tar:0.png"
    (here / "list.txt").write_text(f"{memory}/files/3.png\n{memory}/files/none.png\n")
    third, none = stream([f"@{here}/list.txt"])
    assert third.open(3).tobytes() == DUE[3]
    with pytest.raises(UnreadableImage, match="not a file"):
        none.open(3)


def test_a_folder_of_shards_on_the_disk_is_read_as_well(here: Path) -> None:
    assert seen(str(here / "packed")) == DUE


@pytest.mark.parametrize("source", ["files", "packed", "all.tar.gz"])
def test_stretches_of_all_places_are_the_whole(source: str, here: Path) -> None:
    from allmlp.data.stream import pictures

    spans = [range(0, 2), range(2, 5), range(6, 7)]
    for span, found in stretches([str(here / source)], spans):
        got = [each.open(3).tobytes() for one in found for each in pictures(one.place, one.start, one.stop)]
        assert got == DUE[span.start : span.stop]
    with pytest.raises(DataError, match="the sources changed"):
        list(stretches([str(here / source)], [range(5, 8)]))


def test_a_picture_that_changes_changes_the_survey(memory: str) -> None:
    before = survey([f"{memory}/files"]), survey([f"{memory}/packed"])
    fsspec.filesystem("memory").pipe_file("/bucket/files/0.png", b"other")
    assert survey([f"{memory}/files"]).digest != before[0].digest
    assert survey([f"{memory}/packed"]) == before[1]


def test_a_network_that_fails_for_a_moment_costs_nothing(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "PAUSES", (0.0, 0.0))
    plain, times = MemoryFileSystem.cat_file, 0

    def failing(self: MemoryFileSystem, *given: Any, **words: Any) -> bytes:
        nonlocal times
        times += 1
        if times % 3:
            raise ConnectionResetError("reset by peer")
        return bytes(plain(self, *given, **words))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", failing)
    assert seen(f"{memory}/files") == DUE


def test_a_network_that_goes_on_failing_is_no_fault_of_the_pictures(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> bytes:
        raise ConnectionResetError("reset by peer")

    monkeypatch.setattr(addresses, "PAUSES", (0.0,))
    monkeypatch.setattr(MemoryFileSystem, "cat_file", failing)
    with pytest.raises(DataError, match=r"0\.png cannot be fetched: ConnectionResetError") as error:
        next(stream([f"{memory}/files"])).open(3)
    assert not isinstance(error.value, UnreadableImage)


def test_a_picture_that_may_not_be_read_is_one_that_cannot(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(*_: Any, **__: Any) -> bytes:
        raise PermissionError("403")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", closed)
    with pytest.raises(UnreadableImage, match="it may not be read"):
        next(stream([f"{memory}/files"])).open(3)


@pytest.mark.parametrize(
    ("source", "told", "hint"),
    [
        ("s3://bucket/set", "needs a library", "pip install 'allmlp[shards]'"),
        ("nosuch://bucket", "cannot be fetched: ValueError", "check the address"),
        ("memory://nowhere", "there is no picture in memory://nowhere", "addresses"),
        ("memory://nowhere/a.tar", "cannot be fetched: FileNotFoundError", "check the address"),
        ("simplecache::memory://bucket/files", "several file systems", "name a file"),
    ],
)
def test_an_address_without_pictures_is_one_clear_error(
    source: str, told: str, hint: str, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(DataError, match=told) as error:
        survey([source])
    assert hint in error.value.hint


def test_rows_on_the_screen_are_of_local_pictures() -> None:
    with pytest.raises(DataError, match="is an address") as error:
        list_pictures(["s3://bucket/set"])
    assert "--out" in error.value.hint


def test_a_signed_address_is_known_by_its_name(web: str) -> None:
    assert seen(f"{web}/packed/1.tar?signature=a/b.jpg") == DUE[3:]
    assert seen(f"{web}/files/2.png?signature=1") == DUE[2:3]
    assert addresses.file_name("s3://a/b.tar") == "b.tar"
