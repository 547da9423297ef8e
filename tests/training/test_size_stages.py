"""Small pictures first: what each stage trains, what is carried to the next, and exact resumes on both sides."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import allmlp
from allmlp.data.sources import open_source
from allmlp.errors import RecipeError
from allmlp.models import create_model
from allmlp.recipe import Augment, Recipe, Train
from allmlp.run import Run, read_json, read_lines
from allmlp.surgery.resize import resize
from allmlp.training import checkpoint
from allmlp.training.checkpoint import newest_first
from allmlp.training.distributed import Team
from allmlp.training.plan import Plan
from allmlp.training.setup import make_plan
from allmlp.training.sizes import Sizes, resized, sizes_of, smaller
from allmlp.training.stages import plan_at
from allmlp.training.step import update
from contract import SMALL, build
from helpers import interrupt_after, same_weights
from ranks import At, in_processes, values

Make = Callable[..., Recipe]
TIMES = {"seconds", "images_per_s"}
STAGES = [[8, 8, 0.34], [16, 8, 0.33]]
"""An epoch each of three: 2 × 2 patches, 4 × 2, and the recipe's 4 × 4."""
RICH: dict[str, Any] = {
    "augment": {"mixup": 0.4, "cutmix": 1.0, "erase": 0.5},
    "train": {"ema": 0.9, "sizes": STAGES, "log_every": 1},
    "hyper": {"drop_path": 0.2},
}


def with_train(**more: Any) -> dict[str, Any]:
    return {**RICH, "train": {**RICH["train"], **more}}


def lines(run: Run, which: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_lines(run.folder / which)]


@pytest.fixture(scope="module")
def undisturbed(stripes: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Make) -> Run:
    return allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path_factory.mktemp("sizes") / "run", quiet=True)


def assert_same(a: Run, b: Run) -> None:
    assert same_weights(a, b)
    assert same_weights(a, b, "best")
    assert lines(a) == lines(b)
    assert lines(a, "steps.jsonl") == lines(b, "steps.jsonl")


def test_the_model_of_the_last_epoch_is_the_recipes_own(undisturbed: Run) -> None:
    model, plain = allmlp.load(undisturbed), create_model("resmlp", dim=16, depth=2, patch_size=4, img_size=16, in_chans=1)
    assert model.img_size == (16, 16)
    shapes = {name: t.shape for name, t in plain.state_dict().items() if not name.startswith("head")}
    assert {name: t.shape for name, t in model.state_dict().items() if not name.startswith("head")} == shapes
    assert read_json(undisturbed.weights("best").with_suffix(".json"))["epoch"] == 3


def test_each_epoch_says_its_size_and_the_rate_goes_on_unbroken(
    undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    assert [(line["img_height"], line["img_width"]) for line in lines(undisturbed)] == [(8, 8), (16, 8), (16, 16)]
    whole = allmlp.train(stripes, recipe=small_recipe(**with_train(sizes=[])), out=tmp_path / "whole", quiet=True)
    rates = [[line["lr"] for line in lines(run, "steps.jsonl")] for run in (whole, undisturbed)]
    assert rates[0] == rates[1]
    assert len(rates[0]) == 12


def test_a_model_of_stages_learns(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    """Stripes of 2 pixels are grey at half the size, so that the first stage squeezes along one axis alone."""
    recipe = small_recipe(train={"epochs": 24, "sizes": [[16, 8, 0.5]]})
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert read_json(run.state)["best"]["top1"] > 0.9


@pytest.mark.parametrize("steps", [2, 4, 5, 7, 8, 9, 12])
def test_resumed_in_any_stage_and_at_its_edges_ends_bit_identical(
    steps: int, undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 steps a stage: a signal at the 4th and 8th is met while the epoch is validated, before the size changes."""
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        stopped = allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path / "run", quiet=True)
    assert read_json(stopped.state)["state"] == "stopped"
    assert_same(undisturbed, allmlp.resume(stopped.folder, quiet=True))


@pytest.mark.parametrize("stop", [(1, 0), (2, 0)])
def test_a_run_killed_right_after_the_size_changed_ends_bit_identical(
    stop: tuple[int, int],
    undisturbed: Run,
    stripes: Path,
    tmp_path: Path,
    small_recipe: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = checkpoint.save

    def save(run: Run, position: Any, *arguments: Any, **more: Any) -> None:
        plain(run, position, *arguments, **more)
        if (position.epoch, position.step) == stop:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save)
        with pytest.raises(MemoryError):
            allmlp.train(stripes, recipe=small_recipe(**RICH), out=tmp_path / "run", quiet=True)
    assert_same(undisturbed, allmlp.resume(tmp_path / "run", quiet=True))


def test_when_the_newest_checkpoint_is_damaged_the_one_of_the_stage_before_serves(
    undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(**with_train(save_steps=3, keep=3))
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
        interrupt_after(patch, 2)
        allmlp.resume(run.folder, quiet=True)
    newest = newest_first(run)
    assert [path.name for path in newest][:2] == ["00001-00000002", "00001-00000000"]
    for path in newest[:2]:
        (path / "state.json").write_text("{}")
    allmlp.resume(run.folder, quiet=True)
    assert same_weights(undisturbed, run)
    assert lines(undisturbed) == lines(run)


def test_a_loss_out_of_bounds_goes_back_across_the_edge(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step at the new size finds a loss that is no number, and the only whole checkpoint is of the old size."""
    from allmlp.training import loop
    from allmlp.training.step import Outcome

    plain, bad = loop.update, []

    def broken(plan: Plan, batch: Any, number: int, **more: Any) -> Outcome:
        found = plain(plan, batch, number, **more)
        if number == 4 and not bad:
            bad.append(number)
            (newest_first(Run(tmp_path / "run"))[0] / "state.json").write_text("{}")
            return Outcome(found.loss * float("nan"), found.chance, found.hits, found.norm)
        return found

    monkeypatch.setattr(loop, "update", broken)
    recipe = small_recipe(**with_train(retry=1, save_steps=3))
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert read_json(run.state)["retries"][0]["step"] == 1
    assert [line["img_height"] for line in lines(run)] == [8, 16, 16]


def plan_with_moments(small_recipe: Make, stripes: Path, optim: str = "adamw") -> Plan:
    """Three steps into the first stage."""
    source = open_source(str(stripes), val_share=0.25, seed=0)
    plan = make_plan(small_recipe(**{**RICH, "optim": {"name": optim, "warmup": 0.0}}), source)
    batches = iter(plan.train_batches)
    plan.model.train()
    for number in range(3):
        update(plan, next(batches), number, mixing=True)
    return plan


def test_weights_and_their_mean_are_carried_by_resize(small_recipe: Make, stripes: Path) -> None:
    plan = plan_with_moments(small_recipe, stripes)
    moved = plan_at(plan, 1)
    assert plan.ema is not None
    assert moved.ema is not None
    for before, after in ((plan.model, moved.model), (plan.ema.module, moved.ema.module)):
        expected = resize(before, (16, 8), patches="same").state_dict()  # type: ignore[arg-type]
        assert all(torch.equal(expected[name], tensor) for name, tensor in after.state_dict().items())
        assert after.training == before.training
    assert plan_at(moved, 1) is moved


@pytest.mark.parametrize("optim", ["adamw", "lamb", "sgd", "muon"])
def test_moments_are_carried_along(optim: str, small_recipe: Make, stripes: Path) -> None:
    """2 × 2 tokens become 4 × 2, two copies of each below one another: the map's entries halve, and so do its gradients."""
    plan = plan_with_moments(small_recipe, stripes, optim)
    moved = plan_at(plan, 1)
    place = [0, 1, 0, 1, 2, 3, 2, 3]  # of each new token's old one, in raster order
    adam = ("exp_avg", "exp_avg_sq")
    fields = {"adamw": adam, "lamb": adam, "sgd": ("momentum_buffer",), "muon": ("momentum_buffer", *adam)}[optim]
    for name, old in plan.model.named_parameters():
        new = moved.model.get_parameter(name)
        assert plan.optimiser.state[old].keys() == moved.optimiser.state[new].keys()
        for field in fields:
            if optim == "muon" and field not in plan.optimiser.state[old]:
                continue  # a matrix has Muon's, a vector Adam's
            before, after = plan.optimiser.state[old][field], moved.optimiser.state[new][field]
            if old.shape == new.shape:
                assert torch.equal(before, after), name
            elif old.dim() == 2:
                scale = 0.25 if field.endswith("_sq") else 0.5
                torch.testing.assert_close(after, scale * before[place][:, place])
            else:
                torch.testing.assert_close(after, before[place])
        if optim == "adamw":
            assert moved.optimiser.state[new]["step"] == 3
    assert any(p.shape != moved.model.get_parameter(n).shape for n, p in plan.model.named_parameters())


def test_what_is_fresh_and_depends_on_the_grid_is_drawn_for_the_first_size(small_recipe: Make, stripes: Path) -> None:
    """Not resized from the last one's: a row of n weights has the spread that the family gives to n."""
    source = open_source(str(stripes), val_share=0.25, seed=0)
    hyper = {"dim": 8, "depth": 4}
    first = make_plan(small_recipe(hyper=hyper, data={"img_size": [64, 64]}, train={"sizes": [[32, 32, 0.5]]}), source).model
    alone = make_plan(small_recipe(hyper=hyper, data={"img_size": [32, 32]}), source).model
    assert first.state_dict().keys() == alone.state_dict().keys()
    for name, tensor in first.state_dict().items():
        other = alone.state_dict()[name]
        assert tensor.shape == other.shape
        if tensor.numel() > 1000:
            assert float(tensor.std()) == pytest.approx(float(other.std()), rel=0.1), name


def test_init_goes_through_the_stages_with_its_weights(
    undisturbed: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    recipe = allmlp.Recipe(init=str(undisturbed.folder), train=Train(epochs=2, batch=8, sizes=((8, 8, 0.5),)))
    source = open_source(str(stripes), val_share=0.25, seed=0)
    from allmlp.training.start import start_from

    filled, start = start_from(recipe, source)
    plan = make_plan(filled, source, start)
    expected = resize(start, 8, patches="same").state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in plan.model.state_dict().items())


@pytest.mark.parametrize("distill", [{"mode": "hard"}, {"mode": "soft", "cache": True}])
def test_a_teacher_sees_the_pictures_of_each_stage_and_resuming_stays_exact(
    distill: dict[str, Any],
    undisturbed: Run,
    stripes: Path,
    tmp_path: Path,
    small_recipe: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = {"crop": "none", "flip": 0.0, "mixup": 0.0, "cutmix": 0.0, "erase": 0.0}
    recipe = small_recipe(**{**RICH, "augment": still, "distill": {"teacher": str(undisturbed.folder), **distill}})
    whole = allmlp.train(stripes, recipe=recipe, out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        stopped = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert_same(whole, allmlp.resume(stopped.folder, quiet=True))
    assert len(list(whole.folder.glob("teacher-*.safetensors"))) == (3 if distill.get("cache") else 0)
    assert "val_agreement" in lines(whole)[2]


@pytest.mark.parametrize("name", SMALL)
def test_every_family_grows_to_the_architecture_it_would_have_had(name: str) -> None:
    size = SMALL[name]["img_size"]
    small = (size, size) if isinstance(size, int) else tuple(size)
    whole = build(name, img_size=(2 * small[0], 2 * small[1]))
    (first, last) = sizes_of(Train(epochs=2, sizes=((*small, 0.5),)), whole).sizes
    grown = resized(smaller(whole, first, fresh=True), last)
    assert {k: v.shape for k, v in grown.state_dict().items()} == {k: v.shape for k, v in whole.state_dict().items()}
    assert grown.img_size == whole.img_size
    assert grown.preprocessing == whole.preprocessing


def test_a_size_that_does_not_fit_the_patches_is_refused_before_anything_is_written(
    stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    with pytest.raises(RecipeError, match=r"train\.sizes has 10 × 8 pixels"):
        allmlp.train(stripes, recipe=small_recipe(train={"sizes": [[10, 8, 0.5]]}), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([[16, 16, 0.5], [24, 24, 0.5]], "train.sizes are"),
        ([[16, 16, 0.0]], "train.sizes are"),
        ([[16, -1, 0.5]], "train.sizes are"),
        ([[16, 16, 0.1]], "3 epochs leave a stage"),
        ([[16, 16, 0.9]], "3 epochs leave a stage"),
        ([[16, 0.5]], "train.sizes is"),
        ([16, 16, 0.5], "train.sizes is"),
    ],
)
def test_stages_that_make_no_sense_are_refused(sizes: list[Any], said: str, small_recipe: Make) -> None:
    with pytest.raises(RecipeError, match=said) as error:
        small_recipe(train={"sizes": sizes})
    assert error.value.hint


def test_shares_round_to_whole_epochs_and_costs_go_by_pixels() -> None:
    assert Train(epochs=10, sizes=((16, 16, 0.5), (24, 24, 0.3))).stage_begins == (0, 5, 8)
    sizes = Sizes((0, 5, 8), ((16, 16), (24, 24), (32, 32)))
    assert [sizes.at(epoch) for epoch in (0, 4, 5, 7, 8, 9)] == [(16, 16)] * 2 + [(24, 24)] * 2 + [(32, 32)] * 2
    assert [epoch for epoch in range(10) if sizes.changes(epoch)] == [0, 5, 8]
    assert sizes.left(5, 10) == pytest.approx((3 * 24**2 + 2 * 32**2) / (5 * 16**2))
    assert str(sizes) == "16×16, 24×24 from epoch 6 on, 32×32 from epoch 9 on"


def test_a_stage_shifts_and_cuts_out_as_large_a_share_of_the_picture() -> None:
    from allmlp.data.transforms import scaled

    meant = Augment(padding=4, cutout=8)
    assert scaled(meant, (32, 32), (32, 32)) is meant
    small = scaled(meant, (16, 24), (32, 32))
    assert (small.crop, small.padding, small.cutout) == ("pad", 2, 4)
    assert scaled(meant, (48, 48), (96, 96)).crop == "resized"


def test_shards_keep_their_size(stripes: Path, small_recipe: Make) -> None:
    source = open_source(str(stripes), val_share=0.25, seed=0)
    with pytest.raises(RecipeError, match="sharded models keep their image size"):
        make_plan(small_recipe(**with_train(parallel="fsdp")), source, team=Team(0, 2))


def test_two_processes_grow_as_one_does_and_resume_bit_for_bit(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    """As one: float32 rounding of the same sums in another order, grown over 12 steps."""
    plain = {"augment": {"flip": 0.5}, "train": {"sizes": STAGES, "log_every": 1, "ema": 0.9}}
    alone = allmlp.train(stripes, recipe=small_recipe(**plain), out=tmp_path / "alone", quiet=True)
    recipe = small_recipe(**plain)
    values(in_processes(2, allmlp.train, stripes, recipe=recipe, out=tmp_path / "both", quiet=True))
    both = Run.open(tmp_path / "both")
    one, two = allmlp.load(alone).state_dict(), allmlp.load(both).state_dict()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5)
    values(in_processes(2, allmlp.train, stripes, recipe=recipe, out=tmp_path / "cut", quiet=True, at=At(6, 1)))
    cut = Run.open(tmp_path / "cut")
    shutil.copytree(cut.folder, tmp_path / "alone-after")
    values(in_processes(2, allmlp.resume, cut.folder, quiet=True))
    assert_same(both, cut)
    after = allmlp.resume(tmp_path / "alone-after", quiet=True)
    for name, tensor in allmlp.load(after).state_dict().items():
        torch.testing.assert_close(one[name], tensor, rtol=1e-3, atol=1e-5)


def test_images_in_memory_are_resized_to_the_very_pixels_each_would_get() -> None:
    from allmlp.data.images import ArrayImages
    from allmlp.data.loader import plain_batches
    from allmlp.data.memory import UNCHANGED, at_model_size, fits_memory, memory_batches
    from allmlp.pixels.preprocess import Preprocessing

    generator = np.random.default_rng(0)
    for shape, size, chans in (((32, 32, 3), (24, 24), 3), ((28, 28), (32, 32), 3), ((16, 32, 3), (12, 24), 3)):
        images = ArrayImages(generator.integers(0, 256, (5, *shape), dtype=np.uint8), [0] * 5, "noise")
        for interpolation in ("bicubic", "bilinear", "lanczos"):
            spec = Preprocessing(img_size=size, in_chans=chans, crop_ratio=1.0, interpolation=interpolation)
            resized = at_model_size(images, spec)
            assert fits_memory(resized, UNCHANGED, spec)
            assert not fits_memory(images, UNCHANGED, spec)
            (mine,) = memory_batches(resized, UNCHANGED, spec, batch=5, seed=None)
            (each,) = plain_batches(images, spec, reading=chans, batch=5, workers=0)
            torch.testing.assert_close(mine.images, each.images, rtol=0, atol=1e-6)  # the same bytes, normalised in two ways
    squeezed = Preprocessing(img_size=(16, 24), crop_ratio=1.0)
    assert at_model_size(images, squeezed) is images
