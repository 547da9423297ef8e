"""A teacher that answers about the student's own images, in the student's order of classes."""

# axes: b batch, c channels, h w pixels, k classes

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from allmlp.engine.device import autocast, choose_precision
from allmlp.errors import DataError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.view import View
from allmlp.training.distillation.open import Opened


class Teacher:
    """What the network says to images as the student sees them: the same crop, colours and mixture."""

    def __init__(
        self,
        opened: Opened,
        student: Preprocessing,
        classes: Sequence[str],
        device: torch.device,
        precision: str = "auto",
    ) -> None:
        """classes: the student's. precision: "auto" follows from the processor and the network's width.

        Raises DataError where the teacher lacks a class, or cannot take its images.
        """
        self.opened, self.device = opened, device
        self.outputs = torch.tensor(_matched(opened, classes), device=device)
        self.order = torch.channels_last if opened.channels_last else torch.contiguous_format
        self.net = opened.net.to(device).to(memory_format=self.order)
        self.view = View(student, opened.preprocessing).to(device)
        self._try()
        self.precision = choose_precision(precision, device, self.net)

    @property
    def preprocessing(self) -> Preprocessing:
        return self.opened.preprocessing

    def __call__(self, images: Tensor) -> Tensor:  # b c h w → b k, float32
        """Logits, without gradients."""
        with torch.inference_mode(), autocast(self.device, self.precision):
            logits = self._logits(images.to(self.device, non_blocking=True))
        return logits.float().clone()  # the loss may keep what was not made in inference mode

    def _logits(self, images: Tensor) -> Tensor:  # b c h w → b k
        return self.net(self.view(images).contiguous(memory_format=self.order))[:, self.outputs]

    def _try(self) -> None:
        """One empty image, before anything is written."""
        title, spec = self.opened.title, self.preprocessing
        empty = torch.zeros(1, spec.in_chans, *spec.img_size, device=self.device)
        try:
            with torch.inference_mode():
                outputs = self.net(empty).shape[1]
        except Exception as error:  # networks fail in their own ways
            raise DataError(
                "{} takes no images of {} × {} pixels: {}".format(title, *spec.img_size, str(error).split("\n")[0][:200]),
                hint="leave distill.img_size away, or give a size it was made for",
            ) from None
        if outputs != len(self.opened.classes or ()):
            raise DataError(
                f"{title} has {outputs} outputs and {len(self.opened.classes or ())} names",
                hint="name each of its outputs, in order, in the .json beside its weights",
            )


def _matched(opened: Opened, classes: Sequence[str]) -> list[int]:
    """The teacher's output for each class of the student's, by name; "tench (n01440764)" is n01440764 too."""
    if opened.classes is None:
        raise DataError(
            f"nothing names the classes of {opened.title}, and numbers alone may mean anything",
            hint='write {"classes": ["cat", "dog"]} in the order of its outputs into a .json beside its weights',
        )
    place = {synset[1]: i for i, name in enumerate(opened.classes) if (synset := re.search(r" \((n\d{8})\)$", name))}
    place |= {name: i for i, name in enumerate(opened.classes)}
    missing = [name for name in classes if name not in place]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        shown = ", ".join(opened.classes[:3])
        raise DataError(
            f"{opened.title} does not know {', '.join(missing[:3])}{more}; it knows {len(opened.classes)}: {shown}, …",
            hint="fine-tune it on images of these classes first, or name the folders as its classes are",
        )
    return [place[name] for name in classes]
