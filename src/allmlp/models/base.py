"""What every architecture has in common: begin → steps → end → head, and how pictures get in."""

# axes: b batch, c channels, h w pixels, n tokens, y x rows and columns of the grid, k classes

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from allmlp.errors import ModelError
from allmlp.models.arguments import choice, whole
from allmlp.nn.recompute import recompute
from allmlp.pixels.given import Given, images_of
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.reading import Reading
from allmlp.weights.finite import refuse_not_finite

_PLACE = re.compile(r"(?:stages\.(\d+)\.)?(?:blocks\.(\d+)\.)?")
"""Of a parameter's name: its stage and its block."""
_ABOVE_ALL = 10**6


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one picture, best first."""

    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    """Each in [0, 1]; over all classes they sum to 1."""


class ImageModel(nn.Module, ABC):
    """An image classifier made of `begin`, a sequence of `steps`, `end`, and a linear head.

    The tensor methods have the meaning they have in timm.
    """

    PREPROCESSING: ClassVar[dict[str, Any]] = {}
    """The family's mean, std, crop ratio and interpolation, where they are not the default."""

    CHANNELS_LAST: ClassVar[bool] = False
    """Whether the family runs faster with channels as the innermost axis in memory."""

    name: str = ""
    """The variant it was created as, or the family."""
    family: str = ""
    hyperparameters: dict[str, Any]
    """The keyword arguments it was built with."""

    def __new__(cls, **hyperparameters: Any) -> "ImageModel":
        model = super().__new__(cls)
        model.__dict__["hyperparameters"] = hyperparameters
        return model

    def __init__(self, *, img_size: tuple[int, int], in_chans: int, num_classes: int, num_features: int) -> None:
        super().__init__()
        self.img_size = img_size
        self.in_chans = whole("in_chans", in_chans)
        self.num_classes = whole("num_classes", num_classes, least=0)
        self.num_features = self.head_hidden_size = num_features
        self.classes: tuple[str, ...] | None = None
        default = Preprocessing(img_size=img_size, **self.PREPROCESSING)
        self.preprocessing = default.fit(img_size=img_size, in_chans=in_chans)

    @property
    def reading(self) -> Reading:
        """How image files are decoded for this model."""
        return self.preprocessing.reading

    @abstractmethod
    def begin(self, image: Tensor) -> Tensor:  # b c h w → the steps' own layout
        """Raises ShapeError for an image that is not of `img_size`."""

    @abstractmethod
    def steps(self) -> Sequence[nn.Module]:
        """What `forward_intermediates` can show: blocks, or stages where the grid shrinks."""

    @abstractmethod
    def end(self, x: Tensor) -> Tensor:  # the steps' own layout → b n c
        """The final norm."""

    @abstractmethod
    def pool(self, tokens: Tensor) -> Tensor:  # b n c → b c
        """One vector for the whole image."""

    @abstractmethod
    def grid_view(self, x: Tensor) -> Tensor:  # the steps' own layout → b c y x
        """For people who expect feature maps."""

    @abstractmethod
    def normed(self, x: Tensor) -> Tensor:  # the steps' own layout, kept
        """The final norm on an intermediate; intermediates of other widths are left as they are."""

    def new_head(self, num_classes: int) -> nn.Module:
        """A fresh classifier, which starts as `start_head` says; nothing for 0 classes."""
        if not num_classes:
            return nn.Identity()
        head = nn.Linear(self.num_features, num_classes)
        self.start_head(head)
        return head

    def start_head(self, head: nn.Linear) -> None:
        """The release's initial weights of a classifier; torch's own unless a family has others."""

    head: nn.Module

    def forward(self, image: Tensor) -> Tensor:  # b c h w → b k
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:  # b c h w → b n c
        x = self.begin(image)
        for step in self.steps():
            x = step(x)
        return self.end(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:  # b n c → b k, or b c
        pooled = self.pool(x)
        return pooled if pre_logits else self.head(pooled)

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """What the steps produce, for feature maps and probes.

        indices: the last n for an int, those for a sequence (negative from the end), all for None.
        norm: apply the final norm to each. stop_early: skip the steps nobody asked for.
        output_fmt: "NCHW" (b c y x) or "NLC" (b n c).
        Returns a list in the steps' order, or (tokens after the last norm, list) unless `intermediates_only`.
        """
        choice("output_fmt", output_fmt, ("NCHW", "NLC"))
        steps = self.steps()
        take = _taken(len(steps), indices)
        x = self.begin(x)
        shown = {}
        for i, step in enumerate(steps[: max(take) + 1] if stop_early else steps):
            x = step(x)
            if i in take:
                grid = self.grid_view(self.normed(x) if norm else x)
                shown[i] = grid.contiguous() if output_fmt == "NCHW" else grid.flatten(2).transpose(1, 2)
        intermediates = list(shown.values())
        return intermediates if intermediates_only else (self.end(x), intermediates)

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """timm's description of the intermediates: channels and pixels per token."""
        with torch.no_grad(), torch.device("meta"):
            probe = torch.empty(1, self.in_chans, *self.img_size)
            twin = self.twin().eval()
            maps = twin.forward_intermediates(probe, intermediates_only=True)
        return [
            {"num_chs": m.shape[1], "reduction": self.img_size[0] // m.shape[2], "module": f"steps.{i}"}
            for i, m in enumerate(maps)
        ]

    def twin(self) -> "ImageModel":
        """The same architecture with fresh weights, on the default device of the moment."""
        return type(self)(**self.hyperparameters)

    def card(self) -> dict[str, Any]:
        """What the JSON beside its weights says: all that is needed to build and use it again."""
        return {
            "name": self.name,
            "family": self.family,
            "hyperparameters": self.hyperparameters,
            "classes": list(self.classes or map(str, range(self.num_classes))),
            "preprocessing": self.preprocessing.to_dict(),
        }

    def blocks_of(self) -> list[nn.Module]:
        """Its residual blocks: what activations are kept between when `set_grad_checkpointing` is on."""
        return [block for part in (self, *getattr(self, "stages", ())) for block in getattr(part, "blocks", ())]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Training keeps only the blocks' inputs and computes the rest again for the gradients, as in timm."""
        for block in self.blocks_of():
            recompute(block, enable)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], tuple[int, ...]]:
        """timm's order of the parameters by depth, from their names: patches, blocks, norm and head. coarse: by stage."""

        above = ("norm", "head", "class_") if hasattr(self, "class_blocks") else ("norm", "head")

        def depth(name: str) -> tuple[int, ...]:
            if name.startswith(above):
                return (_ABOVE_ALL,)
            place = _PLACE.match(name)
            stage, block = (int(place[1] or 0), int(place[2] or -1)) if place else (0, -1)
            return (stage,) if coarse else (stage, block + 1)

        return depth

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that must not decay though they are not vectors (those never decay)."""
        return set()

    def get_classifier(self) -> nn.Module:
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A fresh head for other classes; 0 leaves features only. Forgets the class names."""
        if global_pool not in (None, "avg"):
            raise ModelError(f"global_pool={global_pool!r} is not offered", hint="use forward_features for unpooled tokens")
        old = next(self.parameters())
        self.num_classes = whole("num_classes", num_classes, least=0)
        self.head = self.new_head(num_classes).to(device=old.device, dtype=old.dtype)
        self.head.train(self.training)
        self.classes = None
        self.hyperparameters = {**self.hyperparameters, "num_classes": num_classes}

    @torch.inference_mode()
    def predict(self, images: Given | Iterable[Given], *, top: int = 5, batch: int = 32) -> list[Prediction]:
        """Classify images of any size and mode.

        Args:
            images: one or several: paths of files, PIL images, or arrays of uint8, height × width (× channels).
            top: how many classes to name, at most as many as there are.
            batch: images at a time.

        Returns:
            One Prediction per image.

        Raises:
            ModelError: when the model has no classes, or its logits for an image are not finite.
            WeightsError: when its weights are not finite.
            DataError: for no image at all, and for what is none; UnreadableImage, one of its kind, for one that cannot be
                decoded.
        """
        if not self.num_classes:
            raise ModelError("this model has no classes (num_classes=0)", hint="give it a head with reset_classifier")
        pictures = images_of(images)
        names = self.classes or tuple(str(i) for i in range(self.num_classes))
        weight = next(self.parameters())
        was_training = self.training
        self.eval()
        found = []
        try:
            for start in range(0, len(pictures), max(batch, 1)):
                some = enumerate(pictures[start : start + max(batch, 1)], start)
                pixels = torch.stack([self.preprocessing(image, f"image {i}, counted from 0,") for i, image in some])
                logits = self(pixels.to(weight)).float()
                self._refuse_not_finite(logits, pixels, start)
                best = logits.softmax(-1).topk(min(max(top, 1), self.num_classes))
                found += [
                    Prediction(tuple(names[i] for i in order), tuple(values))
                    for order, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                ]
        finally:
            self.train(was_training)
        return found

    def _refuse_not_finite(self, logits: Tensor, pixels: Tensor, start: int) -> None:  # b k, b c h w
        bad = (~logits.isfinite().all(1)).nonzero().flatten().tolist()
        if bad:
            refuse_not_finite(self.state_dict(), self.name or self.family)
            why = "the logits are" if pixels[bad[0]].isfinite().all() else "its pixels are"
            raise ModelError(
                f"image {start + bad[0]}, counted from 0, cannot be classified: {why} not finite", hint="look at its values"
            )


def _taken(steps: int, indices: int | Sequence[int] | None) -> list[int]:
    """timm's rule: all for None, the last n for an int, else those named, negative ones from the end."""
    if indices is None or isinstance(indices, int):
        wanted = list(range(steps - (steps if indices is None else indices), steps))
    else:
        wanted = [steps + i if i < 0 else i for i in indices]
    if not wanted or not all(0 <= i < steps for i in wanted):
        raise ModelError(
            f"indices={indices!r} do not fit {steps} steps", hint=f"use 0 to {steps - 1}, or the last 1 to {steps}"
        )
    return wanted
