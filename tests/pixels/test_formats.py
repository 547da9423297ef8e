"""Which kinds of image files are read: those that are here, and those that an extra brings."""

import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image, features

from allmlp.pixels import formats
from allmlp.pixels.read import UnreadableImage, decode_image, read_image
from helpers import picture

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize(
    ("suffix", "form"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".jif", "JPEG"), (".dib", "DIB"), (".dib", "BMP"), (".apng", "PNG")],
)
def test_rarer_endings_are_images(suffix: str, form: str, tmp_path: Path) -> None:
    assert suffix in formats.SUFFIXES
    picture(3).save(tmp_path / f"a{suffix}", form)
    assert read_image(tmp_path / f"a{suffix}", 3).size == (24, 16)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read_where_pillow_reads_it(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), (200, 30, 60)).save(tmp_path / "a.avif")
    red, green, blue = read_image(tmp_path / "a.avif", 3).getpixel((10, 5))  # type: ignore[misc]
    assert abs(red - 200) + abs(green - 30) + abs(blue - 60) < 12  # lossy
    assert ".avif" in formats.SUFFIXES


def test_heic_without_its_reader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "HEIC", False)
    formats.formats.cache_clear()
    with pytest.raises(UnreadableImage, match=r'HEIC, which pillow-heif reads: pip install "allmlp\[heic\]"'):
        decode_image(HEIC, "a.heic", 3)
    assert formats.reader_of({".heic": 3, ".txt": 1}) == '; pip install "allmlp[heic]" reads .heic'
    assert formats.reader_of({".txt": 1}) == ""
    formats.formats.cache_clear()


def test_a_pillow_without_avif_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "AVIF", False)
    assert "AVIF" in str(formats.needs(b"\0\0\0\x18ftypavif\0\0\0\0"))
    assert formats.reader_of([".avif"]) == "; a Pillow with AVIF reads .avif"


def test_heic_is_registered_by_the_first_image_where_its_reader_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    reader = SimpleNamespace(register_heif_opener=lambda **options: calls.append(options))
    monkeypatch.setitem(sys.modules, "pillow_heif", reader)
    monkeypatch.setattr(formats, "HEIC", True)
    formats.formats.cache_clear()
    assert formats.formats() == formats.formats() == (*formats.FORMATS, "HEIF")
    assert calls == [{"thumbnails": False}]
    formats.formats.cache_clear()


def test_nothing_is_registered_when_allmlp_is_imported() -> None:
    code = "import sys, allmlp.pixels.read; assert 'pillow_heif' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_heic_is_read_by_its_reader() -> None:
    reader = pytest.importorskip("pillow_heif", reason="extra heic")
    reader.register_heif_opener()
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 60)).save(file, "HEIF")
    formats.formats.cache_clear()
    red, green, blue = decode_image(file.getvalue(), "a.heic", 3).getpixel((10, 5))  # type: ignore[misc]
    assert abs(red - 200) + abs(green - 30) + abs(blue - 60) < 20  # lossy
    assert ".heic" in formats.SUFFIXES
