"""What every format of a bundle looks like from outside."""

# axes: b images, c channels, h w pixels, k classes

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from allmlp.errors import EngineError
from allmlp.models.base import ImageModel
from allmlp.pixels.graph import PicturesIn
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.reading import Reading
from allmlp.surgery.fold import fold

Runner = Callable[[Tensor], Tensor]
"""Inputs as the file takes them → logits b k in float32."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
PRECISIONS = (*DTYPES, "int8")


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be written."""

    model: ImageModel
    """In float32, in evaluation mode."""
    precision: str
    batch: int | None
    """Images at a time; None: any number."""
    with_preprocessing: bool
    calibration: Iterable[Tensor] = field(default=(), repr=False)
    """Inputs, as many images each as the file takes, that show int8 how large numbers become; gone through more than once."""

    @property
    def input(self) -> dict[str, Any]:
        """Of the graph: its name, type and shape, with words where any number fits."""
        model = self.model
        count: int | str = "batch" if self.batch is None else self.batch
        if self.with_preprocessing:
            return {"name": "pictures", "dtype": "uint8", "shape": [count, "height", "width", model.in_chans]}
        return {"name": "images", "dtype": "float32", "shape": [count, model.in_chans, *model.img_size]}


class Format(ABC):
    """One kind of file a model is written as."""

    name: ClassVar[str]
    title: ClassVar[str]
    """What a README calls it."""
    precisions: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]] = ()
    """What must be installed besides allmlp."""
    extra: ClassVar[str] = "export"
    """The extra that brings it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions the bundle notes, and its README asks for."""
    graph: ClassVar[bool] = True
    """Whether the file holds operations, and so may hold preprocessing and a batch; otherwise weights alone."""
    reads_images: ClassVar[bool] = True
    """Whether the code in its README begins with an image file, so that the bundle has the code that reads one."""
    planned: ClassVar[bool] = False
    """Whether memory is planned when the file is written: it then takes one number of images, all of one size."""

    def needed(self, order: Order) -> tuple[str, ...]:
        """Of `modules`, and others, what this order takes."""
        return self.modules

    def check(self, order: Order) -> None:
        """Raises EngineError for what this format does not offer, or what is not installed."""
        if order.precision not in self.precisions:
            raise EngineError(
                f"format {self.name} is not written in {order.precision}", hint=f"use {' or '.join(self.precisions)}"
            )
        if not self.graph and (order.with_preprocessing or order.batch is not None):
            raise EngineError(
                f"format {self.name} holds weights and no graph, so it has neither preprocessing nor a batch",
                hint="leave --with-preprocessing and --batch out, or choose onnx, openvino or torch",
            )
        if self.planned and order.with_preprocessing:
            raise EngineError(
                f"format {self.name} plans its memory ahead, and pictures of any size have no plan",
                hint="leave --with-preprocessing out (the bundle's README has the code), or choose onnx, openvino or torch",
            )
        lacking = [module for module in self.needed(order) if find_spec(module) is None]
        if lacking:
            raise EngineError(
                f"format {self.name} needs {' and '.join(lacking)}, which is not installed",
                hint=f'pip install "allmlp[{self.extra}]"',
            )

    @abstractmethod
    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        """Write the file into a folder. Returns what else a bundle notes about it, such as the opset."""

    @abstractmethod
    def runner(self, order: Order, folder: Path) -> Runner:
        """The written file, run by the program it is meant for."""

    @abstractmethod
    def code(self, order: Order) -> str:
        """Python that loads the file in the current folder without allmlp, and says what is on picture.jpg."""


def reading_of(spec: Preprocessing) -> tuple[str, str]:
    """(what to import, how to call it) of the bundle's own code that reads picture.jpg as allmlp does."""
    reading = spec.reading
    if reading == Reading(spec.in_chans):
        return "read_image", f'read_image("picture.jpg", {spec.in_chans})'
    return "Reading, read_image", f'read_image("picture.jpg", {reading!r})'


class Deployed(nn.Module):
    """A model for inference, folded: pictures or normalised images in, float32 logits out, whatever it computes in."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.dtype = DTYPES.get(order.precision, torch.float32)
        self.pictures_in = PicturesIn(order.model.preprocessing) if order.with_preprocessing else nn.Identity()
        self.model = fold(order.model).to(self.dtype)

    def forward(self, images: Tensor) -> Tensor:  # b c h w, or b h w c of uint8 → b k
        return self.model(self.pictures_in(images).to(self.dtype)).float()


def example(order: Order) -> Tensor:
    """An input of the right shape, for tracing; pictures are larger than the model's input, and not square."""
    model, count = order.model, order.batch or 2
    if order.with_preprocessing:
        height, width = model.img_size
        return torch.zeros(count, height + 9, width + 17, model.in_chans, dtype=torch.uint8)
    return torch.zeros(count, model.in_chans, *model.img_size)


def captured(order: Order) -> torch.export.ExportedProgram:
    """The graph, with any number of images, and pictures of any size, unless the order says otherwise."""
    free = torch.export.Dim.DYNAMIC
    shape: dict[int, Any] = {} if order.batch is not None else {0: torch.export.Dim("batch", min=1)}
    if order.with_preprocessing:
        shape |= {1: free, 2: free}
    with torch.no_grad():
        return torch.export.export(Deployed(order).eval(), (example(order),), dynamic_shapes=(shape,))


def lines_before(order: Order, *names: str, line: str = "") -> str:
    """Python that makes an array `images` of picture.jpg, as the file takes it; names, line: what else to import."""
    read, _ = reading_of(order.model.preprocessing)
    imports = [f"import {', '.join(('json', 'numpy as np', *names))}", *([line] if line else [])]
    pillow = [] if order.with_preprocessing else ["from PIL import Image"]
    lines = "\n".join([*imports, *pillow, f"from read_image import {read}", *_prepared(order)])
    if order.batch is not None and order.batch > 1:
        lines += f"\nimages = np.repeat(images, {order.batch}, 0)  # the file takes {order.batch} at a time"
    return f"{lines}\n"


def _prepared(order: Order) -> list[str]:
    spec = order.model.preprocessing
    mode = "L" if spec.in_chans == 1 else "RGB"
    _, read = reading_of(spec)
    if order.with_preprocessing:
        return [f"images = np.asarray({read}){'[None, ..., None]' if mode == 'L' else '[None]'}"]
    (height, width), (tall, wide) = spec.img_size, (math.floor(side / spec.crop_ratio) for side in spec.img_size)
    mean, std = (list(values) if mode == "RGB" else values[0] for values in (spec.mean, spec.std))
    cropped = [f"pixels = np.asarray(picture.crop((left, top, left + {width}, top + {height})), np.float32) / 255"]
    if spec.crop_mode == "border":
        fill = tuple(round(255 * value) for value in spec.mean) if mode == "RGB" else round(255 * spec.mean[0])
        cropped = [
            f'canvas = Image.new("{mode}", ({width}, {height}), {fill})',
            "canvas.paste(picture, (-left, -top))",
            "pixels = np.asarray(canvas, np.float32) / 255",
        ]
    axes = "[None, None]" if mode == "L" else ".transpose(2, 0, 1)[None]"
    return [
        f"picture = {read}",
        f"picture = picture.resize({_resized(spec.crop_mode, tall, wide)}, Image.Resampling.{spec.interpolation.upper()})",
        f"left, top = round((picture.width - {width}) / 2), round((picture.height - {height}) / 2)",
        *cropped,
        f"images = ((pixels - {mean}) / {std}){axes}.astype(np.float32)",
    ]


def _resized(crop_mode: str, tall: int, wide: int) -> str:
    """The size before the crop, in Python, by torchvision's and timm's rules."""
    if crop_mode == "squash":
        return f"({wide}, {tall})"
    if crop_mode == "center" and tall == wide:
        return f"[{tall} * side // min(picture.size) for side in picture.size]"
    chosen = "max" if crop_mode == "border" else "min"
    least = ("max(1, ", ")") if crop_mode == "border" else ("", "")  # what is very long would vanish
    sides = f"round(side / {chosen}(picture.width / {wide}, picture.height / {tall}))"
    return f"[{least[0]}{sides}{least[1]} for side in picture.size]"
