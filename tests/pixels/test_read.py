"""Image files, read as if a stranger had sent them."""

import io
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from allmlp.errors import AllmlpError
from allmlp.pixels.read import FORMATS, MOST_PIXELS, SUFFIXES, UnreadableImage, probe_image, read_image
from helpers import attempt, picture

BAD = sorted(p for p in (Path(__file__).parent.parent / "bad-images").iterdir() if p.name != "LICENSE")


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
@pytest.mark.parametrize("in_chans", [None, 1, 3])
def test_a_damaged_image_is_unreadable_and_nothing_else(path: Path, in_chans: int | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnreadableImage) as error:
            read_image(path, in_chans)
    assert error.value.path == str(path)
    assert str(path.parent) not in error.value.reason
    assert 0 < len(error.value.reason) < 300
    assert "\n" not in error.value.reason
    assert str(error.value).startswith(f"{path} cannot be read: {error.value.reason}")


@pytest.mark.parametrize("path", BAD, ids=lambda p: p.name)
def test_probing_a_damaged_image_gives_a_size_or_unreadable(path: Path) -> None:
    size, error = attempt(UnreadableImage, probe_image, path)
    assert error.reason if error else min(size) > 0


def test_the_damaged_images_fail_in_many_ways() -> None:
    reasons = set()
    for path in BAD:
        with pytest.raises(UnreadableImage) as error:
            read_image(path)
        reasons.add(error.value.reason.split(":")[0])
    assert {"OSError", "ValueError", "DecompressionBombError", "the file is empty"} <= reasons
    assert "not a picture of a known format" in reasons
    assert {p.suffix for p in BAD} == {".bmp", ".gif", ".jpg", ".png", ".tif", ".webp"}


def test_a_picture_much_longer_than_wide_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    for size in ((1, 101), (2020, 20)):
        Image.new("L", size).save(tmp_path / "a.png")
        with pytest.raises(UnreadableImage, match="narrower than 1:100"):
            probe_image(tmp_path / "a.png")
    Image.new("L", (2000, 20)).save(tmp_path / "a.png")
    assert probe_image(tmp_path / "a.png") == (2000, 20)


@pytest.mark.parametrize(
    "raised",
    [
        OSError("truncated"),
        ValueError("tile"),
        IndexError("index out of range"),
        KeyError(7),
        TypeError("NoneType"),
        SyntaxError("broken PNG file"),
        NotImplementedError("layout"),
        EOFError(),
        MemoryError(),
        OverflowError("too large"),
        ZeroDivisionError("division by zero"),
        AttributeError("no attribute"),
        struct.error("unpack"),
        zlib.error("Error -3"),
        Image.DecompressionBombError("exceeds limit"),
        RuntimeError("several\nlines"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_whatever_a_decoder_raises_is_translated(raised: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(0).save(tmp_path / "a.png")

    def load(_image: Image.Image) -> None:
        raise raised

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(UnreadableImage) as error:
        read_image(tmp_path / "a.png", 3)
    assert error.value.reason.startswith(type(raised).__name__)
    assert "\n" not in error.value.reason
    assert not error.value.reason.endswith((":", " "))


def test_an_interruption_is_not_an_unreadable_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(0).save(tmp_path / "a.png")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Image, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_image(tmp_path / "a.png")


def bomb(width: int, height: int) -> bytes:
    """A PNG that declares a size and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"\0" * 100)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(8001, 8000), (1, 64_000_001), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.parametrize("read", [read_image, probe_image])
def test_a_bomb_is_refused_by_its_declared_size_before_it_is_decoded(
    size: tuple[int, int], read: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(*size))

    def load(_image: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(UnreadableImage, match=r"pixels are more than 64,000,000|DecompressionBombError"):
        read(tmp_path / "bomb.png")  # type: ignore[operator]


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scans.jpg"
    picture(0).save(path, progressive=True)
    content = path.read_bytes()
    last, end = content[content.rindex(b"\xff\xda") : -2], content[-2:]
    path.write_bytes(content[:-2] + 50 * last + end)
    assert read_image(path, 3).size == (24, 16)
    path.write_bytes(content[:-2] + 257 * last + end)
    monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", lambda _image: pytest.fail("decoded"))
    for read in (read_image, probe_image):
        with pytest.raises(UnreadableImage, match="scans are more than 256"):
            read(path)


def test_the_largest_size_allowed_is_decoded(tmp_path: Path) -> None:
    assert MOST_PIXELS == 8000 * 8000
    (tmp_path / "large.png").write_bytes(bomb(8000, 8000))
    assert probe_image(tmp_path / "large.png") == (8000, 8000)
    with pytest.raises(UnreadableImage, match="OSError"):  # it was decoded, and its pixels are missing
        read_image(tmp_path / "large.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_read_by_content_whatever_its_name(suffix: str, tmp_path: Path) -> None:
    right, wrong = tmp_path / f"a{suffix}", tmp_path / f"a{suffix}.txt"
    picture(3).save(right, "JPEG" if suffix == ".jif" else None)
    wrong.write_bytes(right.read_bytes())
    assert probe_image(right) == probe_image(wrong) == (24, 16)
    assert read_image(wrong, 3).tobytes() == read_image(right, 3).tobytes()
    assert (read_image(right, 1).mode, read_image(right, 3).mode) == ("L", "RGB")


@pytest.mark.parametrize("form", ["EPS", "PPM", "ICO", "TGA", "PDF", "SGI"])
def test_other_formats_are_not_tried(form: str, tmp_path: Path) -> None:
    assert form not in FORMATS
    picture(0).save(tmp_path / "a.png", form)
    with pytest.raises(UnreadableImage, match="not a picture of a known format"):
        read_image(tmp_path / "a.png")


def test_the_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    first, second = Image.new("L", (4, 4), 10), Image.new("L", (4, 4), 200)
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.gif", 1).getpixel((0, 0)) == 10


def test_what_is_read_outlives_the_file(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    assert image.tobytes() == picture(1).tobytes()


@pytest.mark.parametrize("name", ["missing.png", "folder.png", "x" * 300 + ".png", "nul\0.png"])
def test_what_is_no_file_is_unreadable_without_its_path_in_the_reason(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for read in (read_image, probe_image):
        with pytest.raises(UnreadableImage) as error:
            read(tmp_path / name)
        assert str(tmp_path) not in error.value.reason


def test_text_is_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("hello " * 100)
    with pytest.raises(UnreadableImage, match="not a picture of a known format"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    with pytest.raises(UnreadableImage, match="the file is empty"):
        probe_image(tmp_path / "b.jpg")


def test_unreadable_crosses_between_processes_and_is_one_of_ours() -> None:
    error = pickle.loads(pickle.dumps(UnreadableImage("a.png", "OSError: gone")))
    assert (error.path, error.reason) == ("a.png", "OSError: gone")
    assert isinstance(error, AllmlpError)
    assert error.hint
    assert not isinstance(error, UnidentifiedImageError)


def test_a_bad_exif_block_does_not_make_a_picture_unreadable(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    picture(2).save(buffer, "JPEG", exif=b"Exif\0\0MM\0\x2a\0\0\0\x08" + b"\xff" * 40)
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "a.jpg", 3).size == (24, 16)
