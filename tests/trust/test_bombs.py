"""Picture files that would decode to gigabytes are refused by what they declare; of animations the first frame is a picture."""

import time
from pathlib import Path

import bombs
import pytest
from apart import Apart
from doors import explained, predicted, server, trained
from PIL import Image
from scorecard import Card, Fault

from allmlp.pixels.read import UnreadableImage, read_image
from helpers import attempt, picture

FAULT = Fault(
    60,
    "Decompression bombs",
    "refused by declared size before decoding, of animations one frame decoded, in less than 5 s each and 1 GiB beyond start",
)
pytestmark = pytest.mark.slow


def written(folder: Path) -> tuple[int, int]:
    """(giants, animations)"""
    folder.mkdir(parents=True)
    giants, animations = list(bombs.giants()), list(bombs.animations())
    for name, content in (*giants, *animations):
        (folder / name).write_bytes(content)
    return len(giants), len(animations)


def test_none_is_decoded(tmp_path: Path, card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    giants, animations = written(tmp_path / "bombs")
    reasons, slowest = set(), 0.0
    with monkeypatch.context() as patch:
        for kind in ("Png.Png", "Bmp.Bmp", "Tiff.Tiff", "WebP.WebP", "Jpeg.Jpeg", "Gif.Gif"):
            module, _, name = kind.partition(".")
            patch.setattr(f"PIL.{module}ImagePlugin.{name}ImageFile.load", lambda _image: pytest.fail("decoded"))
        for name, _ in bombs.giants():
            begun = time.perf_counter()
            _, error = attempt(UnreadableImage, read_image, tmp_path / "bombs" / name, 3)
            slowest = max(slowest, time.perf_counter() - begun)
            assert error is not None, name
            reasons.add(error.reason.split(":")[0].split(" ")[0])
    for name, _ in bombs.animations():
        sought = []
        with monkeypatch.context() as patch:
            for module in ("Png", "Gif", "WebP"):
                kind = getattr(__import__(f"PIL.{module}ImagePlugin", fromlist=["x"]), f"{module}ImageFile")
                plain = kind.seek
                patch.setattr(
                    kind, "seek", lambda image, frame, plain=plain, sought=sought: sought.append(frame) or plain(image, frame)
                )
            begun = time.perf_counter()
            image = read_image(tmp_path / "bombs" / name, 3)
            slowest = max(slowest, time.perf_counter() - begun)
        assert isinstance(image, Image.Image)
        assert not any(sought), name
    card.within(slowest, 5)
    card.seen(
        "PNG, BMP, TIFF, WebP, JPEG and GIF of 81 million to 4.6 · 10¹⁸ pixels, or of 2,000 scans; 300 to 10,000 frames",
        giants + animations,
        f"{giants} refused undecoded, {animations} as their first frame; slowest {slowest:.2f} s",
    )


def test_predict_explain_and_serve(tmp_path: Path, apart: Apart, five_classes: Path, card: Card) -> None:
    pytest.importorskip("fastapi", reason="allmlp[serve] brings fastapi")
    giants, animations = written(tmp_path / "bombs")
    files = sorted((tmp_path / "bombs").iterdir())
    found = {
        "predict": predicted(apart, five_classes, tmp_path / "bombs"),
        "explain": explained(apart, five_classes, files, tmp_path / "why"),
    }
    with server(five_classes) as served:
        found["serve"] = served.count([path.read_bytes() for path in files])
    for door, counted in found.items():
        assert (counted.answered, counted.refused) == (animations, giants), (door, counted)
        assert counted.grown < 1024, (door, counted)
        told = f"{giants} refused, {animations} as their first frame; {counted.seconds:.1f} s"
        card.seen(f"the same to {door}", len(files), f"{told}, {counted.grown:.0f} MiB beyond start")
    card.within(found["serve"].seconds, 5)


def test_train(tmp_path: Path, apart: Apart, card: Card) -> None:
    giants, animations = written(tmp_path / "data" / "bombs")
    (tmp_path / "data" / "good").mkdir()
    for number in range(20):
        picture(number).save(tmp_path / "data" / "good" / f"{number}.png")
    found = trained(apart, tmp_path / "data", tmp_path / "run", good=20)
    assert (found.answered, found.refused) == (animations, giants)
    assert found.grown < 1024
    card.seen(
        "the same to train, beside 20 good ones",
        giants + animations,
        f"{found.seconds:.1f} s, {found.grown:.0f} MiB beyond start",
    )
