"""`allmlp.compile`: what it hands out is the model, or an error that says why not."""

# axes: b images, c channels, h w pixels

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp.engine.backends.base import Backend, Runner, Wanted, in_batches
from allmlp.engine.backends.eager import Eager
from allmlp.engine.backends.table import BACKENDS
from allmlp.engine.calibrate import ROUNDS, seconds_per_image
from allmlp.engine.compiled import Engine
from allmlp.engine.device import threads_used
from allmlp.engine.kept import CARD, MOST, folder_of, hashes, keep, read_kept, workshop
from allmlp.engine.parity import parity
from allmlp.errors import EngineError, ShapeError
from allmlp.models.base import ImageModel
from contract import awake, build, images

FP32 = 1e-4
"""What the docstring promises, relative to the norm of all logits."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def model() -> ImageModel:
    return awake(build("resmlp_s12")).eval()


def off(engine: Callable[[Tensor], Tensor], model: ImageModel, given: Tensor) -> float:  # b c h w
    with torch.inference_mode():
        due = model(given)
        return float((engine(given) - due).norm() / due.norm())


class Doubled(Eager):
    """Wrong by a factor."""

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        run = super().build(model, wanted, folder)
        return lambda given: 2 * run(given)


class Unbuilt(Eager):
    """Whatever a library may raise."""

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        raise KeyError("libfast.so\nand a second line")


class WithFile(Eager):
    """Starts from a file, as those do that convert a model."""

    file = "model.bin"
    made = 0

    def build(self, model: ImageModel, wanted: Wanted, folder: Path) -> Runner:
        if not (folder / self.file).is_file():
            WithFile.made += 1
            (folder / self.file).write_bytes(b"converted")
        return super().build(model, wanted, folder)


def use(monkeypatch: pytest.MonkeyPatch, **backends: Backend) -> None:
    for name, backend in backends.items():
        monkeypatch.setattr(type(backend), "name", name)
        monkeypatch.setitem(BACKENDS, name, backend)


def installed() -> list[tuple[str, str]]:
    """What builds in seconds here, with its precisions; int8 needs images that set it (test_int8.py)."""
    quick = [b for b in BACKENDS.values() if b.seconds_to_build]
    return [(b.name, p) for b in quick for p in b.precisions if p != "int8" and b.refusal(p) is None]


@pytest.mark.parametrize(("backend", "precision"), installed())
def test_an_engine_answers_as_its_model_does_for_any_number_of_images(model: ImageModel, backend: str, precision: str) -> None:
    engine = allmlp.compile(model, backend=backend, precision=precision, batch=3, keep=False)
    assert (engine.backend, engine.precision) == (backend, precision)
    for count in (1, 3, 7):
        assert off(engine, model, images(model, count)) < (FP32 if precision == "fp32" else 0.05)
    assert engine(images(model, 0)).shape == (0, model.num_classes)
    assert engine.parity.deviation < (FP32 if precision == "fp32" else 0.05)
    assert engine(images(model, 1)).dtype == torch.float32


@pytest.mark.parametrize(("backend", "precision"), installed())
def test_every_backend_runs_models_of_stages_and_of_features(backend: str, precision: str) -> None:
    for name in ("smlpnet_b", "mixer_b16"):
        model = awake(build(name, num_classes=0)).eval()
        engine = allmlp.compile(model, backend=backend, precision=precision, batch=2, keep=False)
        assert off(engine, model, images(model, 2)) < (FP32 if precision == "fp32" else 0.05)


@pytest.mark.slow
@pytest.mark.skipif(BACKENDS["compile"].refusal("fp32") is not None, reason="no C++ compiler here")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_torch_compile_answers_as_its_model_does(model: ImageModel, precision: str) -> None:
    engine = allmlp.compile(model, backend="compile", precision=precision, batch=2, keep=False)
    for count in (1, 2, 5):
        assert off(engine, model, images(model, count)) < (FP32 if precision == "fp32" else 0.05)


def test_auto_takes_what_suits_the_processor_and_it_is_the_model(model: ImageModel) -> None:
    engine = allmlp.compile(model, precision="fp32", batch=2)
    extras = {f"{name} fp32" for name, precision in installed() if precision == "fp32"}
    assert set(engine.seconds_per_image) == (extras if extras > {"torch fp32", "eager fp32"} else set())
    assert off(engine, model, images(model)) < FP32


def test_the_slow_ones_are_timed_twice_and_the_others_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, now = {"fast": 0, "slow": 0}, 0.0

    def run(name: str, takes: float) -> Runner:
        def runner(given: Tensor) -> Tensor:
            nonlocal now
            calls[name] += 1
            now += takes
            return given

        return runner

    monkeypatch.setattr("allmlp.engine.calibrate.time.process_time", lambda: now)
    monkeypatch.setattr("allmlp.engine.calibrate.time.perf_counter", lambda: 0.0)
    seconds = seconds_per_image({"fast": run("fast", 2.0), "slow": run("slow", 4.0)}, torch.ones(2, 3), 2, threads=1)
    assert calls == {"fast": ROUNDS, "slow": 2}
    assert seconds == {"fast": 1.0, "slow": 2.0}


def test_the_model_is_left_alone_and_its_later_changes_do_not_reach_the_engine(model: ImageModel) -> None:
    model.train()
    given = images(model)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for backend in ("torch", "eager"):
        engine = allmlp.compile(model, backend=backend, precision="fp32", keep=False)
        first = engine(given)
        assert model.training
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        assert all(p.requires_grad for p in model.parameters())
        with torch.no_grad():
            model.head.bias.add_(100)  # type: ignore[union-attr, operator]
        assert torch.equal(engine(given), first)
        model.load_state_dict(before)


def test_what_does_not_compute_the_model_is_refused(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, doubled=Doubled(), unbuilt=Unbuilt())
    with pytest.raises(EngineError, match=r"doubled fp32 is off by 1\.0e\+00"):
        allmlp.compile(model, backend="doubled", precision="fp32")
    with pytest.raises(EngineError, match=r"unbuilt cannot build resmlp_s12: 'libfast.so"):
        allmlp.compile(model, backend="unbuilt", precision="fp32")
    engine = allmlp.compile(model, precision="fp32")  # the others are still there
    assert not {"doubled fp32", "unbuilt fp32"} & set(engine.seconds_per_image)


def test_deviation_and_agreement_by_hand() -> None:
    due, got = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[3.0, 0.5], [4.0, 4.0]])
    found = parity(due, got)
    assert found.deviation == pytest.approx((0.5**2 + 4**2) ** 0.5 / 5)
    assert parity(due, due.flip(1)).agreement == 0
    assert parity(due, due + torch.nan).deviation == float("inf")
    assert parity(due, due[:1]).deviation == float("inf")
    assert parity(torch.zeros(2, 2), torch.zeros(2, 2)).deviation == 0


def test_a_second_engine_comes_from_the_disk(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, withfile=WithFile())
    WithFile.made = 0

    def make() -> Engine:
        return allmlp.compile(model, backend="withfile", precision="fp32", batch=2)

    first, second = make(), make()
    assert (first.from_disk, second.from_disk, WithFile.made) == (False, True, 1)
    assert torch.equal(first(images(model)), second(images(model)))
    assert second.parity == first.parity
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    assert not make().from_disk  # other weights are another engine
    assert not allmlp.compile(model, backend="withfile", precision="fp32", batch=4).from_disk
    assert WithFile.made == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.bin").write_bytes(b"convertet"),
        lambda folder: (folder / "model.bin").unlink(),
        lambda folder: (folder / "more.bin").write_bytes(b""),
        lambda folder: (folder / CARD).write_text("{"),
        lambda folder: (folder / CARD).write_text("[]"),
        lambda folder: (folder / CARD).unlink(),
        lambda folder: changed(folder, backend="gone"),
        lambda folder: changed(folder, format=99),
        lambda folder: changed(folder, parity={"wrong": 1}),
    ],
)
def test_a_damaged_engine_is_built_anew(
    model: ImageModel, home: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    use(monkeypatch, withfile=WithFile())
    allmlp.compile(model, backend="withfile", precision="fp32")
    (folder,) = (home / "engines").iterdir()
    damage(folder)
    again = allmlp.compile(model, backend="withfile", precision="fp32")
    assert not again.from_disk
    assert off(again, model, images(model)) < FP32
    assert allmlp.compile(model, backend="withfile", precision="fp32").from_disk


def changed(folder: Path, **values: object) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | values))


def test_where_nothing_can_be_kept_engines_work_all_the_same(model: ImageModel, home: Path) -> None:
    home.write_text("a file where the folder should be")
    for _ in range(2):
        engine = allmlp.compile(model, backend="torch", precision="fp32")
        assert not engine.from_disk
    home.unlink()
    assert not allmlp.compile(model, backend="torch", precision="fp32", keep=False).from_disk
    assert not list(home.glob("engines/*"))


def test_only_the_newest_engines_stay_and_nothing_half_made_does() -> None:
    for number in range(MOST + 3):
        folder = folder_of(f"{number:032}")
        made = workshop(folder)
        (made / "torch").mkdir()
        (made / "torch" / "model.bin").write_bytes(bytes([number]))
        assert keep(folder, made / "torch", {})
        made.rmdir()
    assert len(list(folder.parent.iterdir())) == MOST
    assert folder.is_dir()
    assert list(hashes(folder)) == ["model.bin"]


def test_a_lacking_package_is_named_with_the_extra_that_brings_it(model: ImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.engine.backends.base.find_spec", lambda _: None)
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(EngineError, match=rf'{name}.*not installed(.|\n)*pip install "allmlp\[{name}\]"'):
            allmlp.compile(model, backend=name, precision="fp32")
    assert allmlp.compile(model, precision="fp32").backend in ("torch", "eager")


def test_mistakes_are_told_with_what_would_be_right(model: ImageModel) -> None:
    for values, said in [
        ({"backend": "opnvino"}, "did you mean openvino"),
        ({"precision": "half"}, "choose one of auto, bf16, fp32, int8"),
        ({"precision": "int8"}, "give calibration="),
        ({"batch": 0}, "batch is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "onnxruntime"),
    ]:
        with pytest.raises(EngineError, match=said):
            allmlp.compile(model, **values)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=r"bfloat16(.|\n)*model.cpu\(\).float\(\)"):
        allmlp.compile(awake(build("resmlp_s12")).bfloat16())


def test_images_that_do_not_fit_are_told(model: ImageModel) -> None:
    engine = allmlp.compile(model, backend="torch", precision="fp32", keep=False)
    with pytest.raises(ShapeError, match="do not fit"):
        engine(torch.zeros(1, 3, 5, 5))
    with pytest.raises(EngineError, match=r"uint8(.|\n)*preprocessing"):
        engine(images(model).to(torch.uint8))
    apart = images(model).to(memory_format=torch.channels_last)
    assert off(engine, model, apart) < FP32
    assert off(engine, model, images(model).double().float()) < FP32


def test_batches_are_filled_up_and_cut_again() -> None:
    seen = []

    def run(given: Tensor) -> Tensor:
        seen.append(given.shape[0])
        return given.sum(1, keepdim=True)

    given = torch.arange(10.0).reshape(5, 2)
    assert torch.equal(in_batches(run, 3)(given), given.sum(1, keepdim=True))
    assert seen == [3, 3]


def test_the_number_of_threads_is_put_back() -> None:
    before = torch.get_num_threads()

    def fail() -> None:
        with threads_used(before + 1):
            assert torch.get_num_threads() == before + 1
            raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        fail()
    assert torch.get_num_threads() == before


def test_where_the_way_to_kept_engines_is_barred_one_is_built_all_the_same(
    model: ImageModel, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under another user's home, where even asking whether a folder is there is refused."""

    def barred(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("allmlp.engine.kept.Path.is_dir", barred)
    assert read_kept(home / "engines" / "key") is None
