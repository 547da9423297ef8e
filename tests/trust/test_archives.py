"""Archives that lie: tar and zip with bytes changed, cut and put together, and bombs."""

import io
import random
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest
from scorecard import Card, Fault

from allmlp.data import tar, zipped
from allmlp.data.archive import contents
from allmlp.data.tar import HARMLESS
from allmlp.errors import DataError
from allmlp.pixels.read import UnreadableImage
from helpers import attempt, picture

FAULT = Fault(
    201,
    "Archives that lie",
    "damaged, encrypted, overlapping, of lying sizes, bombs, paths that climb: an error with a hint, or images of the size "
    "that is declared; nothing is written outside the cache folder",
)

pytestmark = pytest.mark.slow


def files() -> dict[str, bytes]:
    made = {}
    for number in range(6):
        file = io.BytesIO()
        picture(number).save(file, "png")
        made[f"{('cat', 'dog')[number % 2]}/{number}.png"] = file.getvalue()
    return made


def as_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in files().items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("dog/link.png")
        link.type, link.linkname = tarfile.LNKTYPE, "cat/0.png"
        archive.addfile(link)
    return file.getvalue()


def as_zip(how: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in files().items():
            archive.writestr(name, content)
    return file.getvalue()


KINDS = {
    "tar": as_tar,
    "zip": as_zip,
    "stored zip": lambda: as_zip(zipfile.ZIP_STORED),
    "gz": lambda: zlib.compress(as_tar(), wbits=31),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", list(KINDS))
def test_mutated_archives(kind: str, tmp_path: Path, card: Card) -> None:
    chance, whole = random.Random(0), KINDS[kind]()
    place = tmp_path / "in"
    place.mkdir()
    path, count, refused, unreadable = place / "a.archive", card.times(3000, 60), 0, 0
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            end = len(content) - 1  # as often where a zip has its table, and a tar a header, as elsewhere
            at = chance.choice((chance.randrange(end), max(end - chance.randrange(600), 0), min(chance.randrange(512), end)))
            content[at : at + chance.choice((1, 1, 4))] = chance.randbytes(chance.choice((1, 4, 0)))
        path.write_bytes(bytes(content[: chance.choice((len(content), len(content), chance.randrange(1, len(content))))]))
        found, error = attempt(DataError, contents, path)
        assert error is None or error.hint
        refused += error is not None
        if found is None:
            continue
        places = list(range(len(found.names)))
        images = found.images(places, found.names, [0] * len(places))
        for i, declared in enumerate(images.sizes()):
            read, bad = attempt(UnreadableImage, images.content, i)
            assert bad or len(read) == declared
            unreadable += bad is not None
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "cache"] == ["in"]
    assert [entry.name for entry in place.iterdir()] == ["a.archive"]
    card.seen(
        f"{kind} with bytes changed, taken out, put in and cut",
        count,
        f"{refused:,} refused with a hint, {unreadable:,} images unreadable, all others of the size declared",
    )


def test_bombs(tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = card.times(HARMLESS, 1 << 24)
    for module in (tar, zipped):
        monkeypatch.setattr(module, "HARMLESS", harmless)
    zeros, times = bytes(1 << 20), (harmless >> 20) + 64
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for i in range(4):
            with archive.open(f"cat/{i}.png", "w") as file:
                for _ in range(times // 4):
                    file.write(zeros)
    squeeze = zlib.compressobj(1, wbits=31)
    (tmp_path / "bomb.tar.gz").write_bytes(b"".join(squeeze.compress(zeros) for _ in range(times)) + squeeze.flush())
    for bomb in (path, tmp_path / "bomb.tar.gz"):
        _, error = attempt(DataError, contents, bomb)
        assert "a bomb" in str(error)
        assert error.hint
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    card.seen(
        "a zip and a tar.gz of zeros, more than 200 times their size and more than a harmless one has",
        2,
        "both refused, nothing of them left on the disk",
    )
