"""A recipe and a source → everything the loop works with."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.utils.data import DataLoader

from allmlp.data.images import ArrayImages, Images, Source
from allmlp.data.keys import seed_everything
from allmlp.data.loader import Batch, plain_batches, training_batches
from allmlp.data.memory import UNCHANGED, at_model_size, fits_memory, memory_batches
from allmlp.data.mix import Mix
from allmlp.data.transforms import SMALL, scaled, training_transform
from allmlp.data.views import view_batches
from allmlp.engine.device import best_device, prepared
from allmlp.errors import DataError, ModelError, RecipeError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Augment, Data, Dino, Recipe
from allmlp.training.by_images import reading_of
from allmlp.training.dino.task import SelfDistilled, Smaller, model_sized_parts, with_projection
from allmlp.training.dino.teacher import MeanTeacher
from allmlp.training.distillation.distiller import Distiller
from allmlp.training.distillation.open import Opened, open_teacher
from allmlp.training.distillation.teacher import Teacher
from allmlp.training.distributed import Team, chosen, local_size, spread, with_shared_norms
from allmlp.training.freeze import freeze
from allmlp.training.generated import Generated
from allmlp.training.objectives import objective
from allmlp.training.optim import optimiser, schedule
from allmlp.training.plan import Plan, Task
from allmlp.training.products import chosen_precision, chosen_products
from allmlp.training.sizes import Sizes, sizes_of, smaller
from allmlp.training.supervised import Supervised

VAL_BATCH = 256
FEW = 20_000
"""Up to so many images in memory, starting worker processes costs more than they save."""


def make_plan(recipe: Recipe, source: Source, start: ImageModel | None = None, team: Team | None = None) -> Plan:
    """start: the model whose weights training begins with; a fresh one unless given. team: one process unless given.

    Raises RecipeError, ModelError or DataError for what does not fit together.
    """
    team = team or Team()
    seed_everything(recipe.seed, "weights")
    model = build_model(recipe, source, start)
    if recipe.dino is not None:
        model = with_projection(model, recipe.dino)
    sizes = sizes_of(recipe.train, model)
    sharded = chosen(recipe.train.parallel, model, team) == "fsdp"
    if sharded and recipe.train.sizes:
        raise RecipeError("sharded models keep their image size", hint="leave train.sizes away, or use --train.parallel ddp")
    if sharded and recipe.optim.name == "muon":
        raise RecipeError("Muon needs whole matrices, not shards", hint="use another optimiser, or --train.parallel ddp")
    if sizes.at(0) != sizes.last:
        model = smaller(model, sizes.at(0), fresh=start is None)
    opened = None if recipe.distill.teacher is None else team.one_by_one(lambda: open_teacher(recipe.distill))
    return plan_for(model, recipe, source, opened, team, sizes)


def plan_for(model: ImageModel, recipe: Recipe, source: Source, opened: Opened | None, team: Team, sizes: Sizes) -> Plan:
    """Everything around a model that is ready. opened: the teacher. Raises as `make_plan` does."""
    device = best_device()
    prepared(with_shared_norms(model, device, team), device)
    freeze(model, recipe.freeze)
    model.set_grad_checkpointing(recipe.train.recompute)
    batch = _shared_batch(recipe, source, team)
    workers = _workers(recipe.data, source)
    augment = scaled(recipe.augment, model.img_size, sizes.last)
    train_batches = _training_batches(recipe, augment, source, model, batch, workers, team)
    val_batch = min(VAL_BATCH * team.size, 2 * batch)

    def plain(images: Images) -> DataLoader[Batch]:
        return _plain_batches(images, model, val_batch, workers, team)

    steps = len(source.train) // batch
    parallel = chosen(recipe.train.parallel, model, team)
    together = parallel != "fsdp"  # buffers stay whole there, and one operation cannot take both kinds
    ema = _running_mean(recipe, model, steps, together)
    precision = team.by_first(lambda: chosen_precision(recipe.train, device, model))
    products = team.by_first(lambda: chosen_products(recipe.train, device, precision))
    if (parallel, precision) == ("fsdp", "fp16"):
        raise RecipeError("sharded models are not trained in fp16", hint='use precision "bf16", or parallel "ddp"')
    forward = spread([model] if ema is None else [model, ema.module], parallel, device, team)
    if recipe.train.compile:
        forward = Generated(forward, _rows(recipe, batch // team.size))
    made = optimiser(model, recipe.optim, batch)
    distiller = None if opened is None else _distiller(recipe, source, model, opened, device, team)
    return Plan(
        recipe=recipe,
        source=source,
        team=team,
        model=model,
        forward=forward,
        parallel=parallel,
        ema=ema,
        train_batches=train_batches,
        val_batches=plain(source.val),
        task=_supervised(recipe, source, distiller)
        if recipe.dino is None
        else _dino(recipe.dino, source, model, parallel, plain),
        distiller=distiller,
        optimiser=made,
        scaler=GradScaler(device.type, enabled=precision == "fp16"),
        schedule=schedule(made, recipe.optim, batch=batch, steps=steps, epochs=recipe.train.epochs),
        device=device,
        precision=precision,
        products=products,
        steps=steps,
        sizes=sizes,
    )


def _rows(recipe: Recipe, images: int) -> int:
    """How many pictures a whole part of a step puts into the model. images: of this process."""
    return -(-images // recipe.train.accumulate) * (1 if recipe.dino is None else model_sized_parts(recipe.dino))


def _supervised(recipe: Recipe, source: Source, distiller: Distiller | None) -> Task:
    mix = Mix(recipe.augment, classes=len(source.classes), smoothing=recipe.train.smoothing)
    return Supervised(mix, objective(recipe.train), distiller)


def _dino(dino: Dino, source: Source, model: ImageModel, parallel: str, plain: Callable[[Images], DataLoader[Batch]]) -> Task:
    if dino.local_size is not None and parallel == "fsdp":
        raise RecipeError("token mixing that lies in shards is not resized", hint="leave dino.local_size away, or use ddp")
    small = None if dino.local_size is None else Smaller(model, dino.local_size)
    voters = plain(source.train.spread(dino.knn_images)) if len(source.classes) > 1 else None
    return SelfDistilled(dino, voters, small, best_device())


def _distiller(
    recipe: Recipe, source: Source, model: ImageModel, opened: Opened, device: torch.device, team: Team
) -> Distiller:
    teacher = Teacher(opened, model.preprocessing, source.classes, device, recipe.distill.precision)
    teacher.precision = team.by_first(lambda: teacher.precision)  # machines may differ, and the choice is one for all
    return Distiller(recipe.distill, teacher, model.preprocessing, validation=len(source.val), team=team)


def _shared_batch(recipe: Recipe, source: Source, team: Team) -> int:
    """Images per step of all processes together, equally many for each."""
    if recipe.train.batch % team.size:
        raise RecipeError(
            f"train.batch is {recipe.train.batch}, which {team.size} processes cannot share equally",
            hint=f"use --train.batch {-(-recipe.train.batch // team.size) * team.size}: it counts the images of all of them",
        )
    batch = min(recipe.train.batch, len(source.train) // team.size * team.size)
    if not batch:
        raise DataError(f"{len(source.train)} images are fewer than {team.size} processes", hint="use fewer processes")
    return batch


def _training_batches(
    recipe: Recipe, augment: Augment, source: Source, model: ImageModel, batch: int, workers: int, team: Team
) -> DataLoader[Batch]:
    share: dict[str, Any] = {"batch": batch, "seed": recipe.seed, "rank": team.rank, "world": team.size}
    if recipe.dino is not None:
        return view_batches(source.train, recipe.dino, model.preprocessing, workers=workers, **share)
    images = source.train if augment.crop == "resized" else at_model_size(source.train, model.preprocessing)
    if fits_memory(images, augment, model.preprocessing):
        return memory_batches(images, augment, model.preprocessing, workers=workers, **share)
    transform = training_transform(augment, model.preprocessing)
    return training_batches(images, transform, reading=model.reading, workers=workers, repeats=augment.repeats, **share)


def unchanged_training_batches(plan: Plan) -> DataLoader[Batch]:
    """Every training image once, in order, prepared as for training by a recipe that changes nothing."""
    spec, workers = plan.model.preprocessing, _workers(plan.recipe.data, plan.source)
    images = at_model_size(plan.source.train, spec)
    batch = min(VAL_BATCH, 2 * plan.recipe.train.batch)
    if fits_memory(images, UNCHANGED, spec):
        return memory_batches(images, UNCHANGED, spec, batch=batch, seed=None)
    transform = training_transform(scaled(plan.recipe.augment, spec.img_size, plan.sizes.last), spec)
    return plain_batches(images, transform, reading=plan.model.reading, batch=batch, workers=workers)


def _running_mean(recipe: Recipe, model: ImageModel, steps: int, together: bool) -> ModelEmaV3 | None:
    """Of the weights, where the recipe wants it, or its task. together: whether one operation can take all of them."""
    if recipe.dino is not None:
        return MeanTeacher(model, recipe.dino.momentum, steps * recipe.train.epochs, foreach=together)
    return ModelEmaV3(model, decay=recipe.train.ema, use_warmup=True, foreach=together) if recipe.train.ema else None


def _plain_batches(images: Images, model: ImageModel, batch: int, workers: int, team: Team) -> DataLoader[Batch]:
    """Each image once, as for evaluation, by one of the processes."""
    images = at_model_size(images, model.preprocessing)
    share: dict[str, Any] = {"batch": batch, "rank": team.rank, "world": team.size}
    if fits_memory(images, UNCHANGED, model.preprocessing):
        return memory_batches(images, UNCHANGED, model.preprocessing, seed=None, **share)
    return plain_batches(images, model.preprocessing, reading=model.reading, workers=workers, **share)


def build_model(recipe: Recipe, source: Source, start: ImageModel | None = None) -> ImageModel:
    """The recipe's model for the source's classes, size and channels, with its preprocessing filled in."""
    hyper = dict(recipe.hyper)
    for key in ("num_classes", "in_chans"):
        if key in hyper:
            raise RecipeError(
                f"hyper.{key} is decided by the data", hint="leave it away" if key == "num_classes" else "use data.in_chans"
            )
    hyper |= {"num_classes": len(source.classes), "in_chans": recipe.data.in_chans or source.in_chans}
    if recipe.data.img_size is not None:
        hyper.setdefault("img_size", recipe.data.img_size)
    model = start or _sized(recipe.model, hyper, source)
    if len(source.classes) < 2 and recipe.dino is None:
        raise DataError("there is one class: nothing to tell apart", hint="add images of another class")
    if start is None and recipe.train.head_bias:
        _begin_biases(model, recipe.train.head_bias)
    model.classes = source.classes
    model.preprocessing = preprocessing(recipe.data, model, source)
    return model


def _begin_biases(model: ImageModel, value: float) -> None:
    head = model.get_classifier()
    if not isinstance(getattr(head, "bias", None), Tensor):
        raise RecipeError(f"the head of {model.name} has no biases", hint="leave train.head_bias away")
    nn.init.constant_(head.bias, value)  # type: ignore[arg-type]


def _sized(name: str, hyper: dict[str, Any], source: Source) -> ImageModel:
    """A model of the size that is asked for, else of a small set's own size, else of the variant's."""
    if source.img_size is None or "img_size" in hyper:
        return create_model(name, **hyper)
    try:
        return create_model(name, img_size=source.img_size, **hyper)
    except ModelError:
        model = create_model(name, **hyper)
        if max(model.img_size) > SMALL:  # much enlarged pictures are not what anyone meant
            raise
        return model


def preprocessing(data: Data, model: ImageModel, source: Source) -> Preprocessing:
    """What evaluation will do to pictures: the family's values where the recipe does not say otherwise."""
    spec = replace(model.preprocessing, page=data.page)
    value_range = reading_of(data, source).value_range
    if value_range is not None:  # a model to start from may have one, too
        spec = replace(spec, value_range=value_range)
    if data.interpolation is not None:
        spec = replace(spec, interpolation=data.interpolation)
    if data.crop_mode is not None:
        spec = replace(spec, crop_mode=data.crop_mode)
    if data.crop_ratio is not None:
        spec = replace(spec, crop_ratio=data.crop_ratio)
    elif max(model.img_size) <= SMALL:
        spec = replace(spec, crop_ratio=1.0)
    for name in ("mean", "std"):
        values = getattr(data, name)
        if values is not None:
            if len(values) not in (1, model.in_chans):
                raise RecipeError(
                    f"data.{name} has {len(values)} values for {model.in_chans} channels", hint="give one value a channel"
                )
            channels: dict[str, Any] = {name: tuple(values) * (model.in_chans // len(values))}
            spec = replace(spec, **channels)
    return spec


def _workers(data: Data, source: Source) -> int:
    if data.workers is not None:
        return data.workers
    if isinstance(source.train, ArrayImages) and len(source.train) <= FEW:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(cores // local_size(), 1), 8)
