"""Checkpoint files: read as if a stranger had sent them, written whole or not at all."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from allmlp.errors import WeightsError
from allmlp.models import create_model
from allmlp.weights.files import read_tensors, unwrap, write_tensors
from allmlp.weights.load import load_weights
from helpers import attempt

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".th", ".npz")
READERS = (".safetensors", ".pth", ".npz")
"""One suffix for each reader."""


def write(path: Path, state: dict[str, torch.Tensor] = STATE) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **{k: v.numpy() for k, v in state.items()})
    else:
        torch.save(state, path)
    return path


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_of_file_gives_its_tensors(suffix: str, tmp_path: Path) -> None:
    read = read_tensors(write(tmp_path / f"w{suffix}"))
    assert {k: v.tolist() for k, v in read.items()} == {k: v.tolist() for k, v in STATE.items()}


def test_a_legacy_pth_gives_its_tensors(tmp_path: Path) -> None:
    torch.save(OrderedDict(STATE), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "w.pth")["a.weight"].tolist() == STATE["a.weight"].tolist()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not a file"):
        read_tensors(tmp_path / f"none{suffix}")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").mkdir()
    with pytest.raises(WeightsError, match="is not a file"):
        read_tensors(tmp_path / "w.pth")


def test_another_kind_of_file_is_refused_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"onnx")
    with pytest.raises(WeightsError, match=r"w\.onnx is of no known kind"):
        read_tensors(tmp_path / "w.onnx")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("length", [0, 1, 7, 40, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused(suffix: str, length: float, tmp_path: Path) -> None:
    path = write(tmp_path / f"w{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(length * len(content)) if isinstance(length, float) else length])
    with pytest.raises(WeightsError) as error:
        read_tensors(path)
    assert error.value.hint
    assert "\n" not in error.value.what


@pytest.mark.parametrize("suffix", READERS)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(suffix: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("damaged") / f"w{suffix}")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    tensors, error = attempt(WeightsError, read_tensors, path)
    assert error.hint if error else all(isinstance(v, torch.Tensor) for v in tensors.values())


@pytest.mark.parametrize("suffix", READERS)
@given(content=st.binary(max_size=80))
def test_noise_is_refused(suffix: str, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("noise") / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        read_tensors(path)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".th"])
@pytest.mark.parametrize("how", ["torch", "torch, legacy", "pickle", "inside"])
def test_code_in_a_checkpoint_is_not_run(suffix: str, how: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / f"w{suffix}"
    content: Any = {"model": STATE, "args": Canary(canary)} if how == "inside" else Canary(canary)
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "torch, legacy")
    with pytest.raises(WeightsError, match="loading it would run code"):
        read_tensors(path)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(canary)))
    assert canary.exists()  # the canary does sing when it is let out


def test_code_in_an_npz_is_not_run(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "w.npz"
    np.savez(path, a=np.array([Canary(canary)], dtype=object))
    with pytest.raises(WeightsError, match="cannot be read"):
        read_tensors(path)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["zeros.npz", "zeros.pth", "again.pth", "many.safetensors"])
def test_a_file_that_would_unpack_to_far_more_than_it_is_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "zeros.npz":
        np.savez_compressed(path, a=np.zeros(2**28, np.int8))
    elif name == "zeros.pth":
        torch.save({"a": torch.zeros(2**28, dtype=torch.int8)}, path)
        with zipfile.ZipFile(path) as plain:
            members = {member: plain.read(member) for member in plain.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for member, content in members.items():
                packed.writestr(member, content)
    elif name == "again.pth":
        torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, path)
    else:
        save_file({f"{i}": torch.zeros(0) for i in range(20_001)}, path)
    with pytest.raises(WeightsError, match=r"would unpack|20,001 tensors") as error:
        read_tensors(path)
    assert error.value.hint


def test_zeros_in_a_small_file_are_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros((768, 1000), np.float32))
    assert read_tensors(tmp_path / "w.npz")["a"].shape == (768, 1000)


@pytest.mark.parametrize(
    "array",
    [np.array(["words"]), np.array([b"bytes"]), np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), np.array("2026", "M8")],
    ids=["text", "bytes", "records", "dates"],
)
def test_an_npz_of_other_things_than_numbers_is_refused(array: np.ndarray, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=array)
    with pytest.raises(WeightsError):
        read_tensors(tmp_path / "w.npz")


def test_a_single_array_named_npz_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "w.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(WeightsError):
        read_tensors(tmp_path / "w.npz")


@pytest.mark.parametrize("key", ["state_dict", "model", "model_ema", "net"])
def test_wrappers_around_a_state_dict_are_taken_off(key: str) -> None:
    assert unwrap({key: {f"module.{k}": v for k, v in STATE.items()}, "epoch": 3, "args": {"lr": 1}}).keys() == STATE.keys()
    assert unwrap({f"_orig_mod.{k}": v for k, v in STATE.items()}).keys() == STATE.keys()


@pytest.mark.parametrize("content", [None, 3, [], {}, {"model": {}}, torch.zeros(3), [torch.zeros(3)]], ids=str)
def test_content_without_a_state_dict_is_refused(content: object) -> None:
    with pytest.raises(WeightsError, match="holds no state dict"):
        unwrap(content)


def test_entries_that_are_not_tensors_are_named() -> None:
    with pytest.raises(WeightsError, match="epoch, lr in the checkpoint are not tensors"):
        unwrap({**STATE, "epoch": 3, "lr": 0.1})


def test_writing_keeps_numbers_types_and_metadata(tmp_path: Path) -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3).T, "b": torch.ones(2, dtype=torch.bfloat16), "c": torch.tensor(7)}
    write_tensors(tmp_path / "w.safetensors", state, {"format": "pt"})
    read = read_tensors(tmp_path / "w.safetensors")
    assert {k: (v.dtype, v.tolist()) for k, v in read.items()} == {k: (v.dtype, v.tolist()) for k, v in state.items()}
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    assert (tmp_path / "w.safetensors").stat().st_mode & 0o777 == 0o644


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    write_tensors(path, STATE)
    before = path.read_bytes()

    def full_disk(_tensors: object, file: Path, _metadata: object) -> None:
        Path(file).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("allmlp.weights.files.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(path, {"a": torch.zeros(3)})
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert path.read_bytes() == before


def test_a_file_is_never_seen_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    seen = []

    def slow(tensors: Any, file: Path, metadata: Any) -> None:
        Path(file).write_bytes(b"half")
        seen.append(path.exists())
        save_file(tensors, file, metadata)

    monkeypatch.setattr("allmlp.weights.files.save_file", slow)
    write_tensors(path, STATE)
    assert seen == [False]
    assert read_tensors(path).keys() == STATE.keys()


@pytest.fixture
def model() -> Any:
    return create_model("resmlp", dim=8, depth=1, patch_size=4, img_size=8, num_classes=3)


def test_everything_that_does_not_fit_is_listed_and_the_model_is_left_alone(model: Any) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    given = {k: torch.full_like(v, 9) for k, v in model.state_dict().items()}
    del given["norm.alpha"], given["norm.beta"]
    given["blocks.0.token_mix.weight"] = torch.zeros(9, 9)
    given["pos_embed"] = torch.zeros(1)
    with pytest.raises(WeightsError) as error:
        load_weights(model, given)
    assert error.value.what.splitlines() == [
        "the checkpoint (layout: own) does not fit resmlp",
        "  missing (2): norm.alpha, norm.beta",
        "  misshaped (1): blocks.0.token_mix.weight is 9×9, the model has 4×4",
        "  unexpected (1): pos_embed",
    ]
    assert "img_size" in error.value.hint
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_another_number_of_classes_has_a_mend_of_its_own(model: Any) -> None:
    given = {**model.state_dict(), "head.weight": torch.zeros(5, 8), "head.bias": torch.zeros(5)}
    with pytest.raises(WeightsError, match=r"misshaped \(2\)") as error:
        load_weights(model, given)
    assert "num_classes" in error.value.hint
    assert "reset_classifier" in error.value.hint


def test_long_lists_are_cut_with_their_count(model: Any) -> None:
    given = {**model.state_dict(), **{f"extra.{i}": torch.zeros(1) for i in range(20)}}
    with pytest.raises(WeightsError, match=r"unexpected \(20\): extra\.0, .*extra\.7 …\n"):
        load_weights(model, given)


def test_another_familys_checkpoint_is_refused(model: Any) -> None:
    mixer = create_model("mixer", dim=8, depth=1, patch_size=4, img_size=8, num_classes=3)
    with pytest.raises(WeightsError, match="does not fit resmlp"):
        load_weights(model, mixer.state_dict())


def test_weights_of_another_precision_are_converted(model: Any) -> None:
    load_weights(model, {k: torch.full_like(v, 0.5).bfloat16() for k, v in model.state_dict().items()})
    assert {(v.dtype, float(v.min()), float(v.max())) for v in model.state_dict().values()} == {(torch.float32, 0.5, 0.5)}


def test_a_model_without_memory_gets_it_when_the_weights_fit(model: Any) -> None:
    with torch.device("meta"):
        twin = model.twin()
    with pytest.raises(WeightsError, match="does not fit"):
        load_weights(twin, {"a": torch.zeros(1)})
    assert all(tensor.is_meta for tensor in twin.state_dict().values())
    load_weights(twin, model.state_dict())
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in twin.state_dict().items())


def test_a_release_without_batch_counters_is_complete() -> None:
    model = create_model("smlpnet", dim=4, depths=(1,), patch_size=4, img_size=8, num_classes=3)
    given = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert len(given) < len(model.state_dict())
    assert load_weights(model, given) == "allmlp"
