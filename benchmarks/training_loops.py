"""Two loops over the same pictures: timm's, made of the parts of its train.py in its order, and allmlp's."""

# axes: b batch

import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from timm.data import Mixup, create_dataset, create_loader
from timm.loss import SoftTargetCrossEntropy
from timm.models import model_parameters
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from timm.utils import ModelEmaV3, dispatch_clip_grad

import allmlp
from allmlp.data.transforms import training_transform
from allmlp.engine.device import autocast
from allmlp.models.base import ImageModel
from allmlp.pages import pages_kept
from allmlp.recipe import Recipe
from allmlp.training.distributed import Team
from allmlp.training.main import images_of
from allmlp.training.setup import make_plan
from allmlp.training.step import update
from originals import original

FOREVER = 1_000_000
"""Steps until a schedule ends."""


class TimmLoop:
    """train.py's step on a CPU: loader without prefetcher, Mixup, forward, backward, clipping, optimiser, EMA, schedule."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        ours: ImageModel = allmlp.create_model(recipe.model, img_size=recipe.data.img_size, num_classes=_classes(folder))
        model = original(ours)
        self.model: Any = model.train()
        self.forward: Any = torch.compile(model) if recipe.train.compile else model
        self.precision = recipe.train.precision
        self.loader = _timm_batches(recipe, ours, folder)
        augment, optim, train = recipe.augment, recipe.optim, recipe.train
        self.mixup = Mixup(
            mixup_alpha=augment.mixup,
            cutmix_alpha=augment.cutmix,
            label_smoothing=train.smoothing,
            num_classes=ours.num_classes,
        )
        self.loss, self.clip = SoftTargetCrossEntropy(), optim.clip
        lr = optim.lr * train.batch / optim.lr_batch
        self.optimiser: Any = create_optimizer_v2(model, opt=optim.name, lr=lr, weight_decay=optim.weight_decay)
        self.ema = ModelEmaV3(model, decay=train.ema, use_warmup=True)
        self.schedule = CosineLRScheduler(self.optimiser, t_initial=FOREVER, t_in_epochs=False)
        self.batches, self.done, self.around = _endless(self.loader), 0, nullcontext

    def step(self) -> tuple[int, float]:
        """(images, seconds of the process that their batch took)."""
        began = time.process_time()
        images, labels = next(self.batches)
        waited = time.process_time() - began
        images, target = self.mixup(images, labels)
        with autocast(images.device, self.precision):
            loss = self.loss(self.forward(images), target)
        loss.backward()
        dispatch_clip_grad(model_parameters(self.model), value=self.clip, mode="norm")
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update(self.model, step=self.done)
        self.done += 1
        loss.item()
        self.schedule.step_update(num_updates=self.done)
        return len(images), waited


class AllmlpLoop:
    """`allmlp.train`'s own plan, batches and update."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        source = images_of(str(folder), recipe, Team(), quiet=True)
        self.plan = make_plan(recipe, source)
        self.plan.model.train()
        self.batches, self.done, self.around = self._batches(), 0, pages_kept

    def _batches(self) -> Iterator[Any]:
        order: Any = self.plan.train_batches.batch_sampler
        while True:
            yield from self.plan.train_batches
            order.epoch += 1

    def step(self) -> tuple[int, float]:
        """(images, seconds of the process that their batch took)."""
        began = time.process_time()
        batch = next(self.batches)
        waited = time.process_time() - began
        float(update(self.plan, batch, self.done, mixing=True).loss)
        self.done += 1
        return len(batch.labels), waited


def _timm_batches(recipe: Recipe, ours: ImageModel, folder: Path) -> Any:
    """timm's loader and transforms; whole pictures that are only shifted, which timm has not, by torchvision's parts."""
    spec, augment = ours.preprocessing, recipe.augment
    dataset = create_dataset("", root=str(folder), split="train", is_training=True)
    loader = create_loader(
        dataset,
        input_size=(spec.in_chans, *spec.img_size),
        batch_size=recipe.train.batch,
        is_training=True,
        use_prefetcher=False,
        scale=(augment.min_area, 1.0),
        hflip=augment.flip,
        color_jitter=augment.color_jitter or None,
        re_prob=augment.erase,
        re_mode="pixel",
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        num_workers=0,
        device=torch.device("cpu"),
        persistent_workers=False,
    )
    if augment.crop == "pad":
        dataset.transform = training_transform(augment, spec)
    return loader


def _classes(folder: Path) -> int:
    return sum(path.is_dir() for path in folder.iterdir())


def _endless(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader
