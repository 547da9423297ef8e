"""Files made to run code, to write elsewhere, or to fill memory are refused, wherever the command line would meet them."""

import json
import pickle
from collections.abc import Callable, Iterable
from pathlib import Path

import malice
import pytest
from apart import Apart, Ended
from safetensors.torch import load_file
from scorecard import Card, Fault

from helpers import PictureFolder

FAULT = Fault(
    70,
    "Malicious files",
    "refused with one line, nothing executed, nothing written outside, within 20 s and a GiB; seen by a canary",
)
MOST_SECONDS, MOST_MIB, MOST_LETTERS = 20, 1024, 3000
pytestmark = pytest.mark.slow


class Guard:
    """Calls the command line and sees that nothing came of it but a refusal."""

    def __init__(self, apart: Apart, folder: Path) -> None:
        self.apart, self.folder = apart, folder
        self.canary = folder / "canary"
        self.work = folder / "work"
        self.work.mkdir()
        self.calls, self.slowest, self.largest = 0, 0.0, 0.0

    def call(self, *words: object) -> Ended:
        """One call that neither crashed nor hung nor left anything outside of work/."""
        before = {path.name for path in self.folder.iterdir()}
        ended = self.apart(*words, folder=self.work, seconds=120)
        told = f"{words[:4]}: {ended.status}, {ended.seconds:.1f} s, {ended.grown:.0f} MiB, {ended.err[-600:]}"
        assert ended.whole, told
        assert len(ended.err) <= MOST_LETTERS, told
        assert ended.grown <= MOST_MIB, told
        assert not self.canary.exists(), told
        assert {path.name for path in self.folder.iterdir()} == before, told
        self.calls, self.slowest = self.calls + 1, max(self.slowest, ended.seconds)
        self.largest = max(self.largest, ended.grown)
        return ended

    def refused(self, *words: object) -> None:
        ended = self.call(*words)
        told = f"{words[:4]}: {ended.status}, {ended.err[-600:]}"
        assert ended.status == 2, told
        assert "error: " in ended.err, told
        assert "hint: " in ended.err, told

    def report(self, card: Card, how: str, files: int) -> None:
        seen = f"all refused or harmless, the canary silent, nothing outside; {self.calls} calls, at most {self.slowest:.1f} s"
        card.seen(how, files, f"{seen} and {self.largest:.0f} MiB beyond start")


@pytest.fixture
def guard(apart: Apart, tmp_path: Path) -> Guard:
    return Guard(apart, tmp_path)


def some(made: Iterable[tuple[str, bytes]], card: Card) -> list[tuple[str, bytes]]:
    """All of them, or every fourth in an ordinary test run."""
    return list(made)[:: card.times(1, 4)]


def test_the_canary_sings_when_it_is_let_out(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(malice.Code(tmp_path / "one")))
    pickle.loads(pickle.dumps(malice.Shell(tmp_path / "two")))
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


@pytest.mark.parametrize("kind", ["pickles", "zips", "safetensors", "npz"])
def test_weights(kind: str, guard: Guard, five_classes: Path, card: Card) -> None:
    state = load_file(five_classes)
    made: dict[str, Callable[[], Iterable[tuple[str, bytes]]]] = {
        "pickles": lambda: malice.pickles(guard.canary, state),
        "zips": lambda: malice.zips(guard.canary, state),
        "safetensors": malice.lying_safetensors,
        "npz": lambda: malice.lying_npz(guard.canary),
    }
    files = some(made[kind](), card)
    for name, content in files:
        path = guard.work / name
        path.write_bytes(content)
        guard.refused("convert", path, "--to", "allmlp", "--out", guard.work / "new.safetensors")
        if path.suffix == ".safetensors":
            path.with_suffix(".json").write_bytes(five_classes.with_suffix(".json").read_bytes())
        guard.refused("predict", path, five_classes)
        for left in guard.work.iterdir():
            left.unlink()
    guard.report(card, f"{kind}: lying, bursting and with code, to convert and predict", len(files))


def test_weights_to_train_from_and_to_learn_from(
    guard: Guard, five_classes: Path, picture_folder: PictureFolder, card: Card
) -> None:
    data = picture_folder({"a": 3, "b": 3})
    guard.work.mkdir(exist_ok=True)
    state = load_file(five_classes)
    train = (
        "train",
        data,
        "--model",
        "resmlp_xs",
        "--data.img-size",
        "8",
        "8",
        "--train.epochs",
        "1",
        "--data.workers",
        "0",
        "--out",
        "run",
    )
    files = [
        *malice.pickles(guard.canary, state),
        *malice.zips(guard.canary, state),
        *malice.lying_safetensors(),
        *malice.lying_npz(guard.canary),
    ]
    chosen = files[:: card.times(5, 24)]
    for name, content in chosen:
        path = guard.work / name
        path.write_bytes(content)
        guard.refused(*train, "--teacher", "resmlp_12_224", "--distill.teacher-weights", path)
        guard.refused(*train, "--init", path)
        path.unlink()
    guard.report(card, "such weights to train --init and --teacher", len(chosen))


def test_descriptions_of_models(guard: Guard, five_classes: Path, picture_folder: PictureFolder, card: Card) -> None:
    image = picture_folder({"a": 1}) / "a" / "0.png"
    mine = guard.work / "mine.safetensors"
    mine.write_bytes(five_classes.read_bytes())
    said = json.loads(five_classes.with_suffix(".json").read_text(encoding="utf-8"))
    cards = list(malice.cards(said))[:: card.times(1, 6)]
    for _, text in cards:
        mine.with_suffix(".json").write_text(text, encoding="utf-8")
        guard.refused("predict", mine, image)
    guard.report(card, "lying JSON beside good weights, of 100 MB and 10,000 deep too, to predict", len(cards))


def test_recipes(guard: Guard, picture_folder: PictureFolder, card: Card) -> None:
    data = picture_folder({"a": 3, "b": 3})
    texts = list(malice.recipes())[:: card.times(1, 3)]
    for _, text in texts:
        (guard.work / "mine.toml").write_text(text, encoding="utf-8")
        guard.refused("train", data, "--recipe", guard.work / "mine.toml", "--out", guard.work / "run")
    guard.report(card, "TOML of 100 MB, 10,000 deep, with terminal codes and paths, to train --recipe", len(texts))


def test_archives_of_pictures(guard: Guard, five_classes: Path, picture_folder: PictureFolder, card: Card) -> None:
    pictures = picture_folder({"ant": 2, "bee": 2})
    content = {str(path.relative_to(pictures)): path.read_bytes() for path in sorted(pictures.rglob("*.png"))}
    archives = some(malice.tars(guard.canary, content), card)
    answered = 0
    for name, packed in archives:
        path = guard.work / name
        path.write_bytes(packed)
        ended = guard.call("evaluate", five_classes, path, "--json")
        assert ended.status == 2 or json.loads(ended.out)["images"] >= 1
        answered += ended.status == 0
        guard.call("pack", path, "--shards", "1", "--out", guard.work / f"packed-{path.stem}")
        assert not list(guard.work.rglob("*passwd*"))
    assert answered
    guard.report(
        card,
        "tar members that climb, are absolute, links, devices, sparse or of lying size, to evaluate and pack",
        len(archives),
    )


def test_run_folders(guard: Guard, five_classes: Path, card: Card) -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    away = json.dumps(
        {"state": "stopped", "data": "/etc", "command": ["train"], "checkpoint": "../../../canary", "best": {"epoch": 10**400}}
    )
    damages = {
        "run.json": [deep, b"[]", b"1", b"{}", away.encode(), b'{"state": "stopped", "seed": ' + b"9" * 5000 + b"}"],
        "recipe.toml": [text.encode() for name, text in malice.recipes() if name != "long"][:: card.times(1, 4)],
        "metrics.jsonl": [deep, b"[]\n1\nnull\n" * 10, b'{"epoch": "x"}\n', b"\0" * 1000],
        "data.json": [deep, b"[]", b'{"classes": 7}', b'{"classes": ["../../canary", "/etc/passwd"], "source": "/etc"}'],
        "best.json": [deep, b"{}"],
    }
    tried = 0
    for name, contents in damages.items():
        for content in contents:
            run = guard.work / f"run{tried}"
            run.mkdir()
            (run / "best.safetensors").write_bytes(five_classes.read_bytes())
            (run / "best.json").write_bytes(five_classes.with_suffix(".json").read_bytes())
            (run / "run.json").write_text('{"state": "stopped"}', encoding="utf-8")
            (run / "recipe.toml").write_text('model = "resmlp_xs"\n', encoding="utf-8")
            (run / name).write_bytes(content)
            for words in (("report", run), ("train", "--resume", run)):
                ended = guard.call(*words)
                assert ended.status in (0, 2), (name, content[:80], words, ended.err[-600:])
            tried += 1
    guard.report(card, "run folders whose JSON and TOML are hostile, to report and train --resume", tried)


def test_bundles(guard: Guard, five_classes: Path, picture_folder: PictureFolder, card: Card) -> None:
    image = picture_folder({"a": 1}) / "a" / "0.png"
    good = guard.work / "good"
    assert guard.call("export", five_classes, "--format", "safetensors", "--out", good).status == 0
    said = json.loads((good / "bundle.json").read_text(encoding="utf-8"))
    assert guard.call("predict", good, image).status == 0
    digest = said["files"]["model.safetensors"]
    lies: list[object] = [
        {**said, "files": {**said["files"], name: digest}}
        for name in ("../good/model.safetensors", "/etc/passwd", "..", "", ".", "a/b", "\0")
    ]
    lies += [{**said, "files": files} for files in ({}, [], {"model.safetensors": None}, {"model.safetensors": [digest]})]
    lies += [{**said, "format": kind} for kind in ("../../x", "torch", "coreml", "", [])]
    lies += [{**said, "bundle": version} for version in (10**9, "1", None, [1])]
    lies += [[], 7, "text", {"bundle": 1}, {**said, "preprocessing": {"img_size": [8, 8], "crop_ratio": 1e-9}}]
    for lie in lies:
        (good / "bundle.json").write_text(json.dumps(lie), encoding="utf-8")
        guard.refused("predict", good, image)
    guard.report(card, "bundle.json that lies about files, formats and preprocessing, to predict", len(lies))


def test_an_onnx_file_with_weights_elsewhere(
    guard: Guard, five_classes: Path, picture_folder: PictureFolder, card: Card
) -> None:
    onnx = pytest.importorskip("onnx", reason="allmlp[export] brings onnx")
    pytest.importorskip("onnxruntime", reason="allmlp[export] brings onnxruntime")
    import hashlib

    image = picture_folder({"a": 1}) / "a" / "0.png"
    good = guard.work / "good"
    assert guard.call("export", five_classes, "--format", "onnx", "--out", good).status == 0
    said = json.loads((good / "bundle.json").read_text(encoding="utf-8"))
    content = (good / "model.onnx").read_bytes()
    places = ("../../../../etc/passwd", "/etc/passwd", "weights.bin", "../secret.bin")
    for place in places:
        model = onnx.load_from_string(content)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        (good / "model.onnx").write_bytes(model.SerializeToString())
        said["files"]["model.onnx"] = hashlib.sha256((good / "model.onnx").read_bytes()).hexdigest()
        (good / "bundle.json").write_text(json.dumps(said), encoding="utf-8")
        guard.refused("predict", good, image)
        guard.refused("serve", good, "--port", "0")
    guard.report(card, "ONNX bundles with weights in other files, to predict and serve", len(places))
