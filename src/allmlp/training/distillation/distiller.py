"""The teacher's part in a run: its answers to training batches, and how often the student agrees with it."""

# axes: b batch, k classes

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from allmlp.data.images import Images
from allmlp.data.loader import Batch
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Distill
from allmlp.training.distillation.answers import kept_answers
from allmlp.training.distillation.teacher import Teacher
from allmlp.training.distributed import Team
from allmlp.training.objectives import Objective, distilled, hard_distillation, soft_distillation


class Distiller:
    """One teacher for one run at one image size."""

    def __init__(
        self, distill: Distill, teacher: Teacher, student: Preprocessing, *, validation: int, team: Team | None = None
    ) -> None:
        """validation: how many validation images there are."""
        self.distill, self.teacher, self.student, self.team = distill, teacher, student, team or Team()
        self.answers: Tensor | None = None
        self.decisions = torch.full((validation,), -1)
        """The teacher's classes of the validation images, filled as they come by."""

    def remember(self, images: Images, batches: Iterable[Batch], folder: Path, *, steps: int, quiet: bool) -> None:
        """Where the recipe wants it: ask about every training image now, or read what was answered in another run."""
        if self.distill.cache:
            kept = self.distill.cache_folder
            folder = folder if kept is None else Path(kept).expanduser()
            self.answers = self.team.one_by_one(
                lambda: kept_answers(self.teacher, batches, images, self.student, folder, steps=steps, quiet=quiet)
            )

    def objective(self, labels: Objective, images: Tensor, indices: Tensor) -> Objective:  # b c h w, b
        """What these images ask for: the labels' objective and the teacher's answers together.

        images: as the student gets them, mixed or not; indices: of the training images. The teacher is asked once.
        """
        answers = self.teacher(images) if self.answers is None else self.answers[indices].to(images.device)

        def both(logits: Tensor, target: Tensor) -> Tensor:  # b k, b k → scalar
            if self.distill.mode == "hard":
                theirs = hard_distillation(logits, answers, labels)
            else:
                theirs = soft_distillation(logits, answers, self.distill.temperature)
            return distilled(labels(logits, target), theirs, self.distill.share)

        return both

    def see(self, batch: Batch) -> None:
        """Ask about validation images, which never change, when they first come by."""
        if len(batch.labels) and bool((self.decisions[batch.indices] < 0).any()):
            self.decisions[batch.indices] = self.teacher(batch.images).argmax(1).cpu()

    def judge(self, logits: Tensor, labels: Tensor, indices: Tensor) -> tuple[int, int]:  # b k, b, b
        """Validation images that the student decides as the teacher does, and those that the teacher has right."""
        decisions = self.decisions[indices]
        return int((logits.argmax(1) == decisions).sum()), int((labels == decisions).sum())
