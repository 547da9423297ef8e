"""Checkpoints there and back: the same bits, in files that other code and every command here can use."""

import json
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from timm.layers import GatedMlp
from timm.models import load_checkpoint
from timm.models.mlp_mixer import Affine, MlpMixer, ResBlock, SpatialGatingBlock
from torch import Tensor

import allmlp
from allmlp.cli import main
from allmlp.conversion.convert import Given, convert
from allmlp.errors import AllmlpError, RunError, WeightsError
from allmlp.models import create_model
from allmlp.pixels.preprocess import IMAGENET_MEAN
from allmlp.run import write_model
from allmlp.weights.files import read_tensors, write_tensors
from allmlp.weights.layouts import layout_for
from contract import SMALL, build
from helpers import PictureFolder, picture
from oracle import ORACLES

HYPER = {"vip": {"img_size": 32}, "asmlp": {"img_size": 32}, "convmlp": {"img_size": 64}}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


def suffix(layout: str) -> str:
    return ".npz" if layout == "google" else ".pth"


@pytest.mark.parametrize("name", ORACLES)
def test_official_to_ours_to_official_is_bit_exact_and_computes_the_same_on_the_way(name: str, tmp_path: Path) -> None:
    oracle = ORACLES[name]
    there, ours, back = tmp_path / f"there{suffix(oracle.layout)}", tmp_path / "ours.safetensors", tmp_path / "back"
    write_tensors(there, oracle.state())
    done = convert(there, to="allmlp", out=ours, given=Given(hyper=HYPER.get(oracle.family)))
    assert (done["layout"], done["family"], done["left_out"]) == (oracle.layout, oracle.family, [])
    x, logits = oracle.answers()
    with torch.no_grad():
        assert float((allmlp.load(ours)(x) - logits).abs().max() / logits.abs().max()) < 1e-5
    to = "timm" if oracle.layout == "timm" else "official"
    again = convert(ours, to=to, out=back.with_suffix(there.suffix))
    assert again["out_layout"] == oracle.layout
    assert again["renamed"] == done["renamed"] > 0
    assert again["rearranged"] == done["rearranged"]
    assert same(read_tensors(back.with_suffix(there.suffix)), oracle.state())


@pytest.mark.parametrize("name", [n for n in SMALL if not n.endswith("_class")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_ours_to_official_to_ours_is_bit_exact(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    model = build(name).to(dtype)
    ours, there, back = (tmp_path / f"{word}.safetensors" for word in ("ours", "there", "back"))
    save_file(model.state_dict(), ours)
    (tmp_path / "ours.json").write_text(json.dumps({"format": 1, **model.card()}))
    to = "timm" if model.family == "gmlp" else "official"
    convert(ours, to=to, out=there)
    given = {"img_size": model.img_size} if model.family in ("vip", "asmlp", "convmlp") else {}
    given |= {"act": model.hyperparameters.get("act", "gelu")} if model.family == "mixer" else {}
    done = convert(there, to="allmlp", out=back, given=Given(hyper=given))
    assert same(read_tensors(back), model.state_dict())
    assert not done["left_out"]
    assert {k: v.shape for k, v in allmlp.load(back).state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }


TIMMS: dict[str, dict[str, Any]] = {
    "mixer": {},
    "resmlp": dict(mlp_ratio=4, block_layer=partial(ResBlock, init_values=0.1), norm_layer=Affine),
    "gmlp": dict(mlp_ratio=6, block_layer=SpatialGatingBlock, mlp_layer=GatedMlp),
}


@pytest.mark.parametrize("family", TIMMS)
def test_timms_own_code_computes_the_same_from_what_is_written_for_it(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = create_model(family, dim=16, depth=2, img_size=64, num_classes=7).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    write_tensors(tmp_path / "own.safetensors", model.state_dict())
    convert(tmp_path / "own.safetensors", to="timm", out=tmp_path / "timms.safetensors")
    theirs = MlpMixer(img_size=64, embed_dim=16, num_blocks=2, num_classes=7, **TIMMS[family]).eval()
    load_checkpoint(theirs, str(tmp_path / "timms.safetensors"))
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(theirs(x), model(x), rtol=1e-5, atol=1e-5)


def checkpoint(path: Path, name: str = "mixer_official") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(path, ORACLES[name].state())
    return path


def test_a_converted_file_carries_model_classes_and_preprocessing(tmp_path: Path) -> None:
    source, out = checkpoint(tmp_path / "w.npz"), tmp_path / "mine.safetensors"
    names = [f"class {i}" for i in range(7)]
    done = convert(source, to="allmlp", out=out, given=Given(classes=names))
    assert done["assumed"] == {"act": "gelu_tanh", "img_size": (32, 32)}
    card = json.loads(out.with_suffix(".json").read_text())
    assert (card["name"], card["classes"], card["hyperparameters"]["act"]) == ("mixer", names, "gelu_tanh")
    assert card["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert card["converted"]["layout"] == "google"
    model = allmlp.load(out)
    assert model.predict(picture(0))[0].classes[0] in names
    assert model.preprocessing.img_size == (32, 32)


def test_classes_that_nobody_names_are_numbers(tmp_path: Path) -> None:
    done = convert(checkpoint(tmp_path / "w.npz"), to="allmlp", out=tmp_path / "x.safetensors")
    assert not done["classes_known"]
    assert allmlp.load(tmp_path / "x.safetensors").classes == tuple("0123456")


def zeros(path: Path, **hyper: Any) -> Path:
    """A checkpoint with the shapes of a released one, in timm's layout; its file holds a single number."""
    with torch.device("meta"):
        model = create_model("mixer_b16", **hyper)
    _, names = layout_for("timm", "mixer", model.state_dict())
    zero = torch.zeros(1)
    torch.save({names[k]: zero.expand(v.shape) for k, v in model.state_dict().items()}, path)
    return path


def test_a_released_files_name_gives_its_classes_and_preprocessing(tmp_path: Path) -> None:
    source = zeros(tmp_path / "mixer_b16_224_miil-9229a591.pth", depth=12)
    done = convert(source, to="allmlp", out=tmp_path / "x.safetensors")
    assert (done["model"], done["released"]) == ("mixer_b16", "mixer_b16.miil_in21k_ft_in1k")
    card = json.loads((tmp_path / "x.json").read_text())
    assert card["classes"][0] == "tench (n01440764)"
    assert (card["preprocessing"]["std"], card["preprocessing"]["interpolation"]) == ([1.0, 1.0, 1.0], "bilinear")


def test_a_released_checkpoints_name_can_be_given_for_a_file_of_any_name(tmp_path: Path) -> None:
    source = zeros(tmp_path / "model.pth", num_classes=5)
    done = convert(source, to="allmlp", out=tmp_path / "x.safetensors", given=Given(model="mixer_b16.goog_in21k"))
    assert (done["released"], done["hyperparameters"]["act"]) == ("mixer_b16.goog_in21k", "gelu_tanh")
    assert not done["classes_known"]  # 5 outputs are no longer ImageNet's
    assert done["assumed"] == {"img_size": (224, 224)}
    with pytest.raises(WeightsError, match=r"misshaped|not those of mixer_l16"):
        convert(source, to="allmlp", out=tmp_path / "y.safetensors", given=Given(model="mixer_l16.goog_in21k"))


def test_what_a_layouts_own_code_computes_otherwise_is_said(tmp_path: Path) -> None:
    source = checkpoint(tmp_path / "w.npz")
    assert convert(source, to="timm", out=tmp_path / "a.pth")["lost"] == {"act": "gelu"}
    assert convert(source, to="official", out=tmp_path / "b.npz")["lost"] == {}
    assert convert(tmp_path / "a.pth", to="official", out=tmp_path / "c.npz")["lost"] == {"act": "gelu_tanh"}


def test_counters_of_batchnorm_are_kept_where_they_are(tmp_path: Path) -> None:
    model = build("smlpnet_b")
    (tmp_path / "own.json").write_text(json.dumps({"format": 1, **model.card()}))
    save_file(model.state_dict(), tmp_path / "own.safetensors")
    convert(tmp_path / "own.safetensors", to="official", out=tmp_path / "official.pth")
    assert any("num_batches_tracked" in name for name in read_tensors(tmp_path / "official.pth"))
    stray = {**ORACLES["mixer_timm"].state(), "stem.bn.num_batches_tracked": torch.tensor(3)}
    write_tensors(tmp_path / "stray.pth", stray)
    done = convert(tmp_path / "stray.pth", to="allmlp", out=tmp_path / "s.safetensors")
    assert done["left_out"] == ["stem.bn.num_batches_tracked"]


def test_a_checkpoint_of_a_training_script_is_read_without_its_options(tmp_path: Path) -> None:
    state = ORACLES["ff_only"].state()
    torch.save({"model": state, "optimizer": {"state": {}}, "epoch": 299, "args": Namespace(lr=0.1)}, tmp_path / "w.pth")
    done = convert(tmp_path / "w.pth", to="official", out=tmp_path / "x.safetensors")
    assert (done["family"], done["renamed"]) == ("ffonly", 0)
    assert same(read_tensors(tmp_path / "x.safetensors"), state)


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must not be printed",)


def with_code(path: Path) -> Path:
    torch.save({"model": ORACLES["resmlp"].state(), "hook": Code()}, path)
    return path


def beside(folder: Path) -> Path:
    """Weights with a JSON that is none of ours."""
    (folder / "w.json").write_text("{}")
    return checkpoint(folder / "w.safetensors")


MISTAKES: list[tuple[str, Any, dict[str, Any], str]] = [
    ("code", lambda d: with_code(d / "w.pth"), {}, "loading it would run code"),
    ("nothing", lambda d: d / "none.pth", {}, "neither a run folder nor"),
    ("text", lambda d: (d / "w.txt").write_text("x") and d / "w.txt", {}, r"w\.txt is neither a run folder nor"),
    ("an empty folder", lambda d: d, {}, "is not a run folder"),
    ("a stranger's JSON", beside, {}, "does not describe a model"),
    ("no such layout", lambda d: checkpoint(d / "w.npz"), {"to": "keras"}, "there is no layout 'keras'"),
    ("another suffix", lambda d: checkpoint(d / "w.npz"), {"out": "x.pth"}, r"x\.pth is no \.safetensors file"),
    ("no array file", lambda d: checkpoint(d / "w.npz"), {"to": "timm", "out": "x.npz"}, "timm is not written as x.npz"),
    ("no pickle", lambda d: checkpoint(d / "w.npz"), {"to": "official", "out": "x.pth"}, "google is not written as x.pth"),
    ("no folder", lambda d: checkpoint(d / "w.npz"), {"out": "no/x.safetensors"}, "is not there"),
    ("there already", lambda d: checkpoint(d / "x.safetensors"), {}, r"x\.safetensors is there already"),
    ("few classes", lambda d: checkpoint(d / "w.npz"), {"given": Given(classes=["a", "b"])}, "2 different names .* 7 outputs"),
    ("twice", lambda d: checkpoint(d / "w.npz"), {"given": Given(classes=["a"] * 7)}, "1 different names"),
    ("gmlp's release", lambda d: checkpoint(d / "w.pth", "gmlp_timm"), {"to": "official", "out": "x.pth"}, "has no layout"),
]


@pytest.mark.parametrize(("make", "options", "said"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_said_and_nothing_is_written(
    make: Any, options: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path)
    before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
    values = {"to": "allmlp", **options, "out": tmp_path / options.get("out", "x.safetensors")}
    with pytest.raises(AllmlpError, match=said) as error:
        convert(source, **values)
    assert error.value.hint
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before
    assert "this must not" not in capsys.readouterr().out


@pytest.mark.parametrize("to", ["timm", "official"])
def test_overlapping_patches_have_no_place_in_other_layouts(to: str, tmp_path: Path) -> None:
    run = tmp_path / "large.safetensors"
    larger = allmlp.resize(build("resmlp_xs"), 16)
    write_model(run, larger.state_dict(), larger.card())
    with pytest.raises(WeightsError, match="no patches that overlap") as caught:
        convert(run, to=to, out=tmp_path / "x.pth")
    assert 'patches="same"' in caught.value.hint
    convert(run, to="allmlp", out=tmp_path / "again.safetensors")
    image = torch.randn(1, larger.in_chans, 16, 16)
    torch.testing.assert_close(allmlp.load(tmp_path / "again.safetensors")(image), larger.eval()(image))


def test_a_disk_without_room_is_said_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    source = checkpoint(tmp_path / "w.npz")
    monkeypatch.setattr("allmlp.weights.files.save_file", full)
    with pytest.raises(RunError, match=r"x\.safetensors cannot be written: No space left"):
        convert(source, to="allmlp", out=tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == [source]


def test_half_precision_that_an_array_file_cannot_keep_is_refused(tmp_path: Path) -> None:
    state = {k: v.bfloat16() for k, v in ORACLES["mixer_timm"].state().items()}
    write_tensors(tmp_path / "w.pth", state)
    with pytest.raises(WeightsError, match=r"\.npz file cannot keep") as error:
        convert(tmp_path / "w.pth", to="official", out=tmp_path / "x.npz")
    assert error.value.hint == "use .safetensors"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.pth"]
    half = {k: v.half() for k, v in ORACLES["mixer_timm"].state().items()}
    write_tensors(tmp_path / "h.pth", half)
    convert(tmp_path / "h.pth", to="official", out=tmp_path / "x.npz")
    assert {v.dtype for v in read_tensors(tmp_path / "x.npz").values()} == {torch.float16}


def test_the_command_converts_and_every_other_command_takes_what_it_wrote(
    tmp_path: Path, picture_folder: PictureFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = checkpoint(tmp_path / "w.npz"), tmp_path / "mine.safetensors"
    names = ["cat", "dog", *(f"other {i}" for i in range(5))]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    words = ["convert", str(source), "--to", "allmlp", "--out", str(out), "--classes", str(tmp_path / "names.txt")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == ""
    for fact in ("layout google", "mixer for 32×32 pixels", "act = gelu_tanh", "30 renamed", "with axes moved", str(out)):
        assert fact in said.err, fact
    pictures = picture_folder({"cat": 2, "dog": 3})
    assert main(["predict", str(out), str(pictures), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 5
    assert all(row["classes"][0] in names for row in rows)
    assert main(["evaluate", str(out), str(pictures), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["images"], result["weights"]) == (5, str(out))
    assert all("picture" not in mistake for mistake in result["mistakes"])
    assert main(["evaluate", str(out)]) == 2
    assert "give a folder of class folders as DATA" in capsys.readouterr().err


def test_folders_with_wordnet_ids_are_classes_of_imagenet(
    tmp_path: Path, picture_folder: PictureFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    model = create_model("resmlp", dim=8, depth=1, patch_size=4, img_size=8, num_classes=1000)
    write_tensors(tmp_path / "w.pth", model.state_dict())
    words = ["convert", str(tmp_path / "w.pth"), "--to", "allmlp", "--out", str(tmp_path / "x.safetensors"), "--json"]
    assert main([*words, "--classes", "imagenet-1k"]) == 0
    assert json.loads(capsys.readouterr().out)["classes_known"]
    pictures = picture_folder({"n01440764": 2, "n02099601": 1})
    assert main(["evaluate", str(tmp_path / "x.safetensors"), str(pictures), "--json"]) == 0
    counted = {row["class"]: row["images"] for row in json.loads(capsys.readouterr().out)["per_class"] if row["images"]}
    assert counted == {"tench (n01440764)": 2, "golden retriever (n02099601)": 1}
    assert main(["evaluate", str(tmp_path / "x.safetensors"), str(pictures)]) == 0
    assert len(capsys.readouterr().out.splitlines()) < 20  # classes without images are not listed


def test_the_preprocessing_of_an_unknown_file_is_the_familys(tmp_path: Path) -> None:
    done = convert(checkpoint(tmp_path / "w.pth", "resmlp"), to="allmlp", out=tmp_path / "x.safetensors")
    assert tuple(done["preprocessing"]["mean"]) == IMAGENET_MEAN
    assert done["preprocessing"]["crop_ratio"] == 0.9
