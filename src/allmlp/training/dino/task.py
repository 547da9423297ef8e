"""The task of DINO: the student's outputs for any part of a picture shall be the teacher's for another part of it."""

# axes: b batch, v parts of the model's size, l smaller parts, c channels, h w y x pixels, k outputs

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader

from allmlp.data.loader import Batch
from allmlp.data.views import LARGE
from allmlp.engine.device import autocast, placed
from allmlp.errors import ModelError, RecipeError, TrainingError
from allmlp.models.base import ImageModel
from allmlp.recipe import Dino
from allmlp.surgery.resize import plan as resizing
from allmlp.training.checkpoint import Position
from allmlp.training.dino.features import knn
from allmlp.training.dino.loss import centred, self_distillation, teacher_temperature
from allmlp.training.dino.projection import Projection
from allmlp.training.dino.state import State
from allmlp.training.dino.teacher import headless, teaching
from allmlp.training.plan import Choice, Judged, Look, Losses, Plan, Product, of_images

LEAST = 0.01
"""Information, as a share of the most there could be, below which the teacher gives all images one answer."""


def with_projection(model: ImageModel, dino: Dino) -> ImageModel:
    """The model with DINO's head in the place of a classifier, and without classes."""
    model.reset_classifier(0)
    model.head = Projection(model.num_features, hidden=dino.hidden, bottleneck=dino.bottleneck, outputs=dino.outputs)
    return model


class Smaller:
    """A model for smaller pictures, through weights that are resized in the pass itself: gradients reach its own."""

    def __init__(self, model: ImageModel, img_size: tuple[int, int]) -> None:
        """Raises RecipeError for a size that the model cannot have."""
        try:
            with headless(model):
                self.resizing = resizing(model, img_size, patches="same")
        except ModelError as error:
            raise RecipeError("dino.local_size has {} × {} pixels: {}".format(*img_size, error.what), hint=error.hint) from None

    def __call__(self, model: ImageModel, images: Tensor) -> Tensor:  # b c y x → b k
        shape = self.resizing.shape.train(model.training)
        with headless(model):
            features = functional_call(shape, self.resizing.tensors(model), images)
        return model.head(features)


class SelfDistilled:
    """The plan's model, which has a projection head, is the student; its running mean is the teacher."""

    command, counts = "pretrain", "images"

    def __init__(self, dino: Dino, voters: DataLoader[Batch] | None, small: Smaller | None, device: torch.device) -> None:
        """voters: training images as for evaluation, where there are classes to tell apart. small: for parts of a size of
        their own."""
        self.dino, self.voters, self.small = dino, voters, small
        self.state = State(dino.outputs).to(device)
        self.parts: Mapping[str, nn.Module] = {"dino": self.state}

    def given(self, plan: Plan, batch: Batch, *, mixing: bool) -> tuple[Tensor, ...]:
        """b of 1 for images and 0 for what stands for none, b v c h w and, where small parts have a size of their own,
        b l c y x."""
        views = [batch.images] if batch.crops is None else [batch.images, batch.crops]
        if not len(batch.labels):
            views = blank(self.dino, plan.model)
        real = torch.full((len(views[0]),), float(len(batch.labels) > 0))
        return tuple(tensor.to(plan.device, non_blocking=True) for tensor in (real, *views))

    def losses(self, plan: Plan, given: tuple[Tensor, ...], number: int) -> Losses:
        """Chance is the loss of a student whose outputs are all alike."""
        real, *views = given
        parts, *crops = (each.transpose(0, 1) for each in views)  # v b c h w, l b c y x
        with autocast(plan.device, plan.precision):
            student = plan.forward(placed(parts.flatten(0, 1), plan.model, plan.device)).unflatten(0, parts.shape[:2])
            if crops and self.small is not None:
                small = self.small(plan.model, placed(crops[0].flatten(0, 1), plan.model, plan.device))
                student = torch.cat([student, small.unflatten(0, crops[0].shape[:2])])
        answers = self._answers(plan, parts[:LARGE], real, number)
        chance = torch.tensor(math.log(self.dino.outputs), device=plan.device)
        return Losses(self_distillation(student, answers, self.dino.temperature), chance, None)

    @torch.no_grad()
    def _answers(self, plan: Plan, parts: Tensor, real: Tensor, number: int) -> Tensor:  # t b c h w, b → t b k
        teacher = teaching(_teacher(plan))
        with autocast(plan.device, plan.precision):
            logits = teacher(placed(parts.flatten(0, 1), plan.model, plan.device)).float().unflatten(0, parts.shape[:2])
        answers = centred(logits, self.state.centre, teacher_temperature(self.dino, number / plan.steps))
        for one, answer in zip(logits, answers, strict=True):
            self.state.see(one, answer, real)
        return answers

    def about_to_move(self, plan: Plan, number: int) -> None:
        """The head's directions stay where they are at first."""
        head = plan.model.head
        if number < self.dino.freeze_last * plan.steps and isinstance(head, Projection):
            head.directions.grad = None

    def moved(self, plan: Plan, number: int, images: int) -> None:
        """The centre follows the teacher's outputs in all processes."""
        self.state.settle(plan.team, self.dino.centre)

    def judge(self, plan: Plan, epoch: int, look: Look) -> Judged:
        """How much the teacher's answers say of the images and, every few epochs, how well its features tell classes.

        Raises TrainingError when they have said nothing for too long.
        """
        due = epoch in (1, plan.recipe.train.epochs) or epoch % self.dino.knn_every == 0
        top1, unreadable, broken = None, 0, None
        if self.voters is not None and due:
            top1, unreadable, broken = knn(plan, _teacher(plan), self.voters, look)
        answers = self.state.close(LEAST)
        record = {
            **plan.img_size,
            "teacher_entropy": answers.entropy,
            "teacher_information": answers.information,
            "teacher_spread": answers.spread,
        }
        record |= {} if top1 is None else {"knn_top1": top1}
        dull = int(self.state.dull)
        worrying = (
            f"the teacher gives all images one answer ({answers.information:.2%} of what it could tell)" if dull else None
        )
        if dull and dull == self.dino.patience:
            raise TrainingError(
                f"{worrying}, {dull} epochs in a row: collapse",
                hint="use a lower --optim.lr, a lower dino.teacher_temperature, a centre that moves faster (dino.centre 0.9) "
                "or a slower teacher; --dino.patience 0 trains on",
            )
        if broken is None and not math.isfinite(answers.entropy + answers.information + answers.spread):
            broken = f"the teacher's outputs have entropy {answers.entropy:.4g} and spread {answers.spread:.4g}"
        if self.voters is None:
            return Judged(record, Choice("ema", None, -float(epoch)), Choice("ema", None), 0, worrying, broken)
        choice = Choice("ema", top1)
        return Judged(record, choice, choice, unreadable, worrying, broken)

    def product(self, plan: Plan) -> Product:
        """The model without its head."""
        model = plan.model
        with torch.device("meta"):
            bare = model.twin()
        bare.name, bare.preprocessing = model.name, model.preprocessing
        return of_images(bare)

    def ending(self, at: Position) -> str:
        if at.measured_top1 is None:
            return f"trained to epoch {at.best_epoch}, without classes to measure it by"
        return f"best k-NN top-1 {at.best_top1:.2%} of the validation images, at epoch {at.best_epoch} (the teacher's weights)"


def model_sized_parts(dino: Dino) -> int:
    """How many parts of an image have the size of the model."""
    return LARGE + (dino.local_crops if dino.local_size is None else 0)


def blank(dino: Dino, model: ImageModel) -> list[Tensor]:
    """Parts of one image that is not there."""
    here, size = dino.local_crops, dino.local_size
    large = torch.zeros(1, model_sized_parts(dino), model.in_chans, *model.img_size)
    return [large] if size is None or not here else [large, torch.zeros(1, here, model.in_chans, *size)]


def _teacher(plan: Plan) -> ImageModel:
    assert plan.ema is not None
    teacher: ImageModel = plan.ema.module
    return teacher
