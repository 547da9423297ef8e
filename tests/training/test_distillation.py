"""Teachers of every kind: how they are opened, what they see, what the student learns of them, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from timm.models import _builder

import allmlp
from allmlp.data.loader import Batch
from allmlp.data.sources import open_source
from allmlp.errors import AllmlpError, DataError, RecipeError, WeightsError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Distill, Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training.distillation import cifar_resnet
from allmlp.training.distillation.distiller import Distiller
from allmlp.training.distillation.open import Opened, open_teacher
from allmlp.training.distillation.teacher import Teacher
from allmlp.training.main import merged
from allmlp.training.objectives import cross_entropy
from allmlp.training.setup import make_plan
from allmlp.training.step import update
from helpers import ZEN4, interrupt_after, pretend, same_weights

CPU = torch.device("cpu")
GREY = Preprocessing(img_size=(16, 16), in_chans=1, mean=(0.5,), std=(0.25,), crop_ratio=1.0)
TINY = "test_resnet"  # timm's own for tests: 0.5 M parameters
STILL = {"crop": "none", "flip": 0.0}


@pytest.fixture(scope="module")
def teacher_run(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A model that knows the stripes."""
    return allmlp.train(
        stripes,
        recipe=allmlp.Recipe(model="resmlp_xs", hyper={"dim": 16, "depth": 2, "layer_scale": 1.0}),
        out=tmp_path_factory.mktemp("runs") / "teacher",
        quiet=True,
        train={"epochs": 12, "batch": 8},
        optim={"lr": 0.02, "lr_batch": 8, "warmup": 1.0},
        **{"data.img_size": (16, 16), "data.in_chans": 1, "data.workers": 0, "data.val_share": 0.25},
    )


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a timm model for two classes, and the JSON that names them."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY, num_classes=2).state_dict(), path)
    path.with_suffix(".json").write_text(json.dumps({"classes": ["down", "across"], "preprocessing": {"img_size": [32, 32]}}))
    return path


def distilled(run: Run, **more: object) -> dict[str, object]:
    return {"distill": {"teacher": str(run.folder), **more}}


def test_a_run_teaches_and_both_are_judged_on_validation_images(
    teacher_run: Run, stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture[str]
) -> None:
    run = allmlp.train(stripes, recipe=small_recipe(**distilled(teacher_run)), out=tmp_path / "student")
    lines = read_lines(run.metrics)
    assert {line["val_teacher_top1"] for line in lines} == {read_json(teacher_run.state)["best"]["top1"]}
    assert all(0 <= line["val_agreement"] <= 1 for line in lines)
    shown = capsys.readouterr().err
    assert f"teacher  {teacher_run.folder} at 16×16" in shown
    assert f"agrees with teacher {lines[-1]['val_agreement']:.1%}" in shown


def test_the_teachers_whole_share_leaves_nothing_to_the_labels(teacher_run: Run) -> None:
    opened = open_teacher(Distill(teacher=str(teacher_run.folder)))
    teacher = Teacher(opened, GREY, ("across", "down"), CPU)
    images, logits = torch.randn(4, 1, 16, 16), torch.randn(4, 2)
    one, other = torch.eye(2)[[0, 0, 1, 1]], torch.eye(2)[[1, 1, 0, 0]]
    for mode in ("hard", "soft"):
        whole, half = (Distiller(Distill(mode=mode, share=s), teacher, GREY, validation=0) for s in (1.0, 0.5))  # type: ignore[arg-type]
        losses = [d.objective(cross_entropy, images, torch.arange(4)) for d in (whole, half)]
        assert losses[0](logits, one) == losses[0](logits, other)
        assert losses[1](logits, one) != losses[1](logits, other)


@pytest.mark.parametrize("mix", [{}, {"mixup": 0.8}, {"cutmix": 1.0}])
def test_the_teacher_sees_what_the_student_sees_once_a_batch(
    mix: dict[str, float],
    teacher_run: Run,
    stripes: Path,
    small_recipe: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = small_recipe(augment=mix, **distilled(teacher_run))
    plan = make_plan(recipe, open_source(str(stripes), val_share=0.25, seed=0))
    seen: dict[str, list[torch.Tensor]] = {"student": [], "teacher": []}
    ask = Teacher.__call__

    def asked(self: Teacher, images: torch.Tensor) -> torch.Tensor:
        seen["teacher"].append(images)
        return ask(self, images)

    monkeypatch.setattr(Teacher, "__call__", asked)
    plan.model.register_forward_pre_hook(lambda _, inputs: seen["student"].append(inputs[0]))
    batch = next(iter(plan.train_batches))
    update(plan, batch, 0, mixing=True)
    assert len(seen["student"]) == len(seen["teacher"]) == 1
    assert torch.equal(seen["student"][0], seen["teacher"][0])
    assert torch.equal(seen["teacher"][0], batch.images) == (not mix)


def test_classes_are_matched_by_name_not_by_number(teacher_run: Run) -> None:
    opened = open_teacher(Distill(teacher=str(teacher_run.folder)))
    images = torch.randn(3, 1, 16, 16)
    straight, turned = (Teacher(opened, GREY, order, CPU)(images) for order in (("across", "down"), ("down", "across")))
    assert torch.equal(straight, turned.flip(1))
    alone = Teacher(opened, GREY, ("down",), CPU)(images)  # a teacher may know more
    assert torch.equal(alone, turned[:, :1])


def test_answers_of_a_timm_model_are_those_it_gives_to_pictures_of_its_own_size_and_colours(tiny_weights: Path) -> None:
    opened = open_teacher(Distill(teacher=TINY, teacher_weights=str(tiny_weights)))
    assert opened.classes == ("down", "across")
    assert opened.preprocessing.img_size == (32, 32)
    theirs = timm.create_model(TINY, num_classes=2).eval()
    theirs.load_state_dict(load_file(tiny_weights))
    pixels = torch.rand(3, 1, 32, 32)
    ours = Preprocessing(img_size=(32, 32), in_chans=1, mean=(0.4,), std=(0.3,))
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (opened.preprocessing.mean, opened.preprocessing.std))
    with torch.no_grad():
        expected = theirs((pixels.expand(3, 3, 32, 32) - mean) / std)
    found = Teacher(opened, ours, ("across", "down"), CPU, "fp32")((pixels - 0.4) / 0.3)
    torch.testing.assert_close(found, expected.flip(1), rtol=1e-4, atol=1e-5)


def test_the_teacher_is_not_trained(tiny_weights: Path) -> None:
    """No gradients, no batch-norm statistics of its own run."""
    opened = open_teacher(Distill(teacher=TINY, teacher_weights=str(tiny_weights)))
    before = {name: tensor.clone() for name, tensor in opened.net.state_dict().items()}
    teacher = Teacher(opened, GREY, ("across", "down"), CPU)
    answers = teacher(torch.randn(4, 1, 16, 16))
    assert not answers.requires_grad
    assert not answers.is_inference()  # a loss may keep it
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.net.state_dict().items())
    assert not any(p.requires_grad for p in teacher.net.parameters())


def test_an_imagenet_teacher_knows_folders_named_by_synset_and_no_others(tmp_path: Path) -> None:
    weights = tmp_path / "imagenet.safetensors"
    save_file(timm.create_model(TINY).state_dict(), weights)
    opened = open_teacher(Distill(teacher=TINY, teacher_weights=str(weights)))
    assert Teacher(opened, GREY, ("n01443537", "n01440764"), CPU).outputs.tolist() == [1, 0]  # goldfish, tench
    with pytest.raises(DataError, match="does not know across, down; it knows 1000: n01440764"):
        Teacher(opened, GREY, ("across", "down"), CPU)


def test_classes_that_bear_a_synset_are_known_by_it_too() -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))
    opened = Opened(title="t", net=net, preprocessing=GREY, classes=("tench (n01440764)", "goldfish (n01443537)"))
    for classes in (("n01443537", "n01440764"), ("goldfish (n01443537)", "tench (n01440764)")):
        assert Teacher(opened, GREY, classes, CPU).outputs.tolist() == [1, 0]


def test_weights_whose_classes_nothing_names_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(tiny_weights.read_bytes())
    opened = open_teacher(Distill(teacher=TINY, teacher_weights=str(tmp_path / "w.safetensors")))
    with pytest.raises(DataError, match="nothing names the classes") as caught:
        Teacher(opened, GREY, ("across", "down"), CPU)
    assert '{"classes": ["cat", "dog"]}' in caught.value.hint


@pytest.mark.parametrize(
    ("card", "match"),
    [
        ("[]", "does not name the teacher's classes"),
        ('{"classes": [1, 2]}', "does not name the teacher's classes"),
        ('{"classes": ["a", "b"], "preprocessing": {"sizes": 3}}', "preprocessing is not understood"),
        ('{"classes": ["a", "b"], "preprocessing": 3}', "preprocessing is not understood"),
        ("{", "cannot be read"),
    ],
)
def test_a_card_that_says_nothing_useful_is_refused(card: str, match: str, tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(tiny_weights.read_bytes())
    (tmp_path / "w.json").write_text(card)
    with pytest.raises(AllmlpError, match=match) as caught:
        open_teacher(Distill(teacher=TINY, teacher_weights=str(tmp_path / "w.safetensors")))
    assert caught.value.hint


def test_more_names_than_outputs_are_refused(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(tiny_weights.read_bytes())
    (tmp_path / "w.json").write_text('{"classes": ["a", "b", "c"]}')
    opened = open_teacher(Distill(teacher=TINY, teacher_weights=str(tmp_path / "w.safetensors")))
    with pytest.raises(DataError, match="2 outputs and 3 names"):
        Teacher(opened, GREY, ("a", "b"), CPU)


def test_a_size_the_teacher_cannot_take_is_refused_at_once(tmp_path: Path) -> None:
    weights = tmp_path / "vit.safetensors"
    save_file(timm.create_model("test_vit", num_classes=2).state_dict(), weights)
    weights.with_suffix(".json").write_text('{"classes": ["across", "down"]}')
    opened = open_teacher(Distill(teacher="test_vit", teacher_weights=str(weights), img_size=(40, 40)))
    with pytest.raises(DataError, match="takes no images of 40 × 40 pixels"):
        Teacher(opened, GREY, ("across", "down"), CPU)


def test_without_a_network_it_is_said_which_file_to_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise OSError("We couldn't connect")

    monkeypatch.setattr(_builder, "load_state_dict_from_hf", offline)
    with pytest.raises(WeightsError, match=r"resnet18.a1_in1k could not be fetched: We couldn't connect") as caught:
        open_teacher(Distill(teacher="resnet18.a1_in1k"))
    assert "fetch timm/resnet18.a1_in1k" in caught.value.hint
    assert "--distill.teacher-weights FILE" in caught.value.hint


@pytest.mark.parametrize(
    ("teacher", "weights", "match"),
    [
        ("resnet19", None, "no teacher 'resnet19'"),
        ("program.pt2", None, "can run any code"),
        ("model.onnx", None, "ONNX files are not read"),
        ("checkpoint.pth", None, "do not say which network"),
        ("no-run.safetensors", None, "neither a run folder"),
        ("cifar_resnet20", None, "needs its weights"),
        ("cifar_resnet20", "missing.th", "is not a file"),
        (TINY, "missing.safetensors", "is not a file"),
    ],
)
def test_what_cannot_teach_is_refused_with_a_way_out(teacher: str, weights: str | None, match: str) -> None:
    with pytest.raises(AllmlpError, match=match) as caught:
        open_teacher(Distill(teacher=teacher, teacher_weights=weights))
    assert caught.value.hint


def test_weights_of_another_network_are_refused(tiny_weights: Path) -> None:
    for name in (TINY.replace("resnet", "vit"), "cifar_resnet20"):
        with pytest.raises(WeightsError, match=f"does not fit {name}"):
            open_teacher(Distill(teacher=name, teacher_weights=str(tiny_weights)))


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path("never").touch, ()


@pytest.mark.parametrize("name", ["cifar_resnet20", TINY])
def test_no_code_of_a_weights_file_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Bomb()}, "bomb.th")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        open_teacher(Distill(teacher=name, teacher_weights="bomb.th"))
    assert not Path("never").exists()


@pytest.mark.parametrize(("name", "parameters"), [("cifar_resnet20", 269_722), ("cifar_resnet56", 853_018)])
def test_cifar_resnets_have_the_released_size_and_read_the_released_form(name: str, parameters: int, tmp_path: Path) -> None:
    net = cifar_resnet.CifarResNet(cifar_resnet.DEPTHS[name])
    assert sum(p.numel() for p in net.parameters()) == parameters
    released = {f"module.{key}": tensor for key, tensor in net.state_dict().items()}
    torch.save({"state_dict": released, "best_prec1": 91.73}, tmp_path / "released.th")
    opened = open_teacher(Distill(teacher=name, teacher_weights=str(tmp_path / "released.th")))
    assert opened.classes is not None
    assert opened.classes[:3] == ("airplane", "automobile", "bird")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(opened.net(images), net.eval()(images))


def test_option_a_shortcuts_take_every_other_pixel_and_add_empty_channels() -> None:
    block = cifar_resnet.Block(2, 4, 2).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 2, 4, 4)
    out = block(x)
    assert torch.equal(out[:, 1:3], x[:, :, ::2, ::2])
    assert not out[:, [0, 3]].any()


def train_still(
    teacher: Run, stripes: Path, out: Path, small_recipe: Callable[..., Recipe], **more: object
) -> tuple[Run, dict[str, torch.Tensor]]:
    recipe = small_recipe(augment=STILL, **distilled(teacher, **more))
    run = allmlp.train(stripes, recipe=recipe, out=out, quiet=True)
    return run, load_file(run.weights("last"))


def test_kept_answers_change_nothing_and_are_asked_once(
    teacher_run: Run, stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    ask = Teacher.__call__

    def count(self: Teacher, images: torch.Tensor) -> torch.Tensor:
        nonlocal asked
        asked += len(images)
        return ask(self, images)

    monkeypatch.setattr(Teacher, "__call__", count)
    soft = {"mode": "soft", "cache_folder": str(tmp_path / "kept")}
    _, plain = train_still(teacher_run, stripes, tmp_path / "a", small_recipe, **soft)
    assert asked == 3 * 32 + 12  # three epochs of four batches, and the validation images once
    asked = 0
    _, kept = train_still(teacher_run, stripes, tmp_path / "b", small_recipe, cache=True, **soft)
    assert asked == 36 + 12
    asked = 0
    _, again = train_still(teacher_run, stripes, tmp_path / "c", small_recipe, cache=True, **soft)
    assert asked == 12
    assert len(list((tmp_path / "kept").iterdir())) == 1
    for name, tensor in plain.items():
        # answers differ by the rounding of batches of other sizes
        torch.testing.assert_close(kept[name], tensor, rtol=1e-4, atol=1e-5)
        assert torch.equal(kept[name], again[name])


def test_answers_are_asked_anew_for_another_teacher_and_for_other_images(
    teacher_run: Run, stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    folder = tmp_path / "kept"
    kept = {"cache": True, "cache_folder": str(folder)}
    student, _ = train_still(teacher_run, stripes, tmp_path / "a", small_recipe, **kept)
    train_still(student, stripes, tmp_path / "b", small_recipe, **kept)
    assert len(list(folder.iterdir())) == 2
    recipe = merged(small_recipe(augment=STILL, **distilled(teacher_run, **kept)), {"seed": 1})  # another split
    allmlp.train(stripes, recipe=recipe, out=tmp_path / "c", quiet=True)
    assert len(list(folder.iterdir())) == 3
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    train_still(teacher_run, stripes, tmp_path / "d", small_recipe, **kept)  # a damaged file is asked anew
    assert max(file.stat().st_size for file in folder.iterdir()) > 100


def test_answers_lie_in_the_run_folder_by_default(
    teacher_run: Run, stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    run, _ = train_still(teacher_run, stripes, tmp_path / "a", small_recipe, cache=True)
    (file,) = run.folder.glob("teacher-*.safetensors")
    assert load_file(file)["logits"].shape == (36, 2)


@pytest.mark.parametrize("change", [{"flip": 0.5}, {"crop": "pad"}, {"erase": 0.1}, {"cutmix": 1.0}, {"auto": "rand-m5-n1"}])
def test_answers_about_images_that_change_are_not_kept(change: dict[str, object], small_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RecipeError, match="needs images that never change"):
        small_recipe(augment={**STILL, **change}, distill={"teacher": "x", "cache": True})


def test_weights_of_a_teacher_without_its_name_are_refused() -> None:
    with pytest.raises(RecipeError, match="has no teacher"):
        Distill(teacher_weights="x.safetensors")


def test_unreadable_validation_images_are_no_ones_fault(tiny_weights: Path) -> None:
    opened = open_teacher(Distill(teacher=TINY, teacher_weights=str(tiny_weights)))
    distiller = Distiller(Distill(), Teacher(opened, GREY, ("across", "down"), CPU), GREY, validation=3)
    none = torch.empty(0, dtype=torch.long)
    distiller.see(Batch(torch.empty(0), none, none, [("a.png", "damaged")]))
    distiller.see(Batch(torch.randn(2, 1, 16, 16), torch.tensor([0, 1]), torch.tensor([0, 2]), []))
    assert distiller.decisions[1] == -1
    logits = torch.nn.functional.one_hot(distiller.decisions[[0, 2]], 2).float()
    assert distiller.judge(logits, 1 - distiller.decisions[[0, 2]], torch.tensor([0, 2])) == (2, 0)


def test_opened_networks_with_convolutions_run_channels_last() -> None:
    nets = {"conv": timm.create_model(TINY), "patches": timm.create_model("test_vit")}
    found = {name: Opened(title=name, net=net, preprocessing=GREY, classes=None).channels_last for name, net in nets.items()}
    assert found == {"conv": True, "patches": False}


def test_the_teachers_precision_follows_from_the_processor_and_is_kept_for_resuming(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = small_recipe(hyper={"dim": 256, "depth": 1}, train={"epochs": 1})
    teacher = allmlp.train(stripes, recipe=wide, out=tmp_path / "teacher", quiet=True)
    recipe = small_recipe(augment={"cutmix": 1.0}, **distilled(teacher, mode="soft"))
    with monkeypatch.context() as patch:
        pretend(patch, **ZEN4)
        undisturbed = allmlp.train(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
        interrupt_after(patch, 6)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    assert read_json(stopped.environment)["teacher_precision"] == "bf16"
    pretend(monkeypatch, vendor="Intel")
    assert same_weights(undisturbed, allmlp.resume(stopped.folder, quiet=True))
    other = allmlp.train(stripes, recipe=recipe, out=tmp_path / "c", quiet=True)
    assert read_json(other.environment)["teacher_precision"] == "fp32"
