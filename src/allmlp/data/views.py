"""Several random parts of each picture, changed each in its own way: what is learnt from without labels (multi-crop, Caron
et al., 2020).

Which part, and every change, follows from (seed, pass, index); pictures in memory are cut a batch at a time, others one by one.
"""

# axes: b batch, v parts of one size, c channels, h w pixels of a picture, y x pixels of a part

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from allmlp.data.boxes import boxes
from allmlp.data.colours import blurred, greyed, jittered, solarized
from allmlp.data.draws import Draws
from allmlp.data.images import ArrayImages, Images
from allmlp.data.loader import Batch, Key, Order, Samples, batch_loader
from allmlp.data.transforms import SMALL
from allmlp.pixels.preprocess import Preprocessing
from allmlp.pixels.read import UnreadableImage
from allmlp.recipe import Dino

LARGE = 2
"""Large parts of each picture."""


@dataclass(frozen=True)
class Part:
    """How one of the parts comes to be."""

    area: tuple[float, float]
    size: tuple[int, int]
    """Height and width in pixels that it ends with."""
    blur: float
    solarize: float


def parts(dino: Dino, img_size: tuple[int, int]) -> list[Part]:
    """The two large ones first. img_size: the model's."""
    first, second, small = dino.blur
    large = [Part(dino.global_area, img_size, first, 0.0), Part(dino.global_area, img_size, second, dino.solarize)]
    return large + [Part(dino.local_area, dino.local_size or img_size, small, 0.0)] * dino.local_crops


def view_batches(
    images: Images,
    dino: Dino,
    preprocessing: Preprocessing,
    *,
    batch: int,
    seed: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
) -> DataLoader[Batch]:
    """As `training_batches`, with several parts of each image in the place of one."""
    order = Order(len(images), min(batch, len(images)), seed=seed, drop_last=True, rank=rank, world=world)
    channels = (1, preprocessing.in_chans)
    if isinstance(images, ArrayImages) and images.in_chans in channels and max(images.img_size) <= SMALL:
        return batch_loader(HeldViews(images, dino, preprocessing, seed), order, 0)
    return batch_loader(Views(images, dino, preprocessing, seed), order, workers)


class Views(Samples):
    """Whole batches by (pass, index), cut from pictures that are opened one by one."""

    def __init__(self, images: Images, dino: Dino, preprocessing: Preprocessing, seed: int) -> None:
        super().__init__(images, preprocessing, preprocessing.reading, seed)
        self.root, self.dino = seed, dino
        self.parts = parts(dino, preprocessing.img_size)
        self.mode = Image.Resampling[preprocessing.interpolation.upper()]
        self.mean, self.std = (torch.tensor(v).reshape(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        good: list[tuple[int, list[Tensor]]] = []
        bad = []
        for key in keys:
            try:
                good.append((key[1], self._opened(key)))
            except UnreadableImage as error:
                bad.append((error.path, error.reason))
        if not good:
            return Batch(torch.empty(0), torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), bad)
        indices = torch.tensor([index for index, _ in good])
        made = [torch.cat(each) for each in zip(*(cut for _, cut in good), strict=True)]
        return self._batch(made, indices, bad)

    def _opened(self, key: Key) -> list[Tensor]:
        """Every part of one picture, each with a batch axis of 1."""
        picture = self.images.open(key[1], self.reading)
        draws = Draws.keyed(self.root, key[0], torch.tensor([key[1]]))
        return [self._changed(self._cut(picture, part, draws), part, draws) for part in self.parts]

    def _cut(self, picture: Image.Image, part: Part, draws: Draws) -> Tensor:  # → 1 c y x
        (top, left, tall, wide), (height, width) = boxes(draws, picture.height, picture.width, part.area)[0].tolist(), part.size
        small = picture.resize((width, height), self.mode, box=(left, top, left + wide, top + tall))
        pixels = torch.from_numpy(np.array(small)).reshape(1, height, width, -1).permute(0, 3, 1, 2) / 255
        return torch.where(draws.chance(self.dino.flip)[:, None, None, None], pixels.flip(-1), pixels)

    def _changed(self, images: Tensor, part: Part, draws: Draws) -> Tensor:  # b c y x → b c y x
        """In other colours, blurred, and as the model takes pictures."""
        images = greyed(jittered(images, self.dino.jitter, self.dino.jitter_prob, draws), self.dino.grey, draws)
        images = solarized(blurred(images, part.blur, draws), part.solarize, draws)
        return (images - self.mean) / self.std

    def _batch(self, made: list[Tensor], indices: Tensor, bad: list[tuple[str, str]]) -> Batch:
        labels = torch.from_numpy(self.images.labels)[indices]
        if self.dino.local_size is None or not self.dino.local_crops:
            return Batch(torch.stack(made, 1), labels, indices, bad)
        return Batch(torch.stack(made[:LARGE], 1), labels, indices, bad, torch.stack(made[LARGE:], 1))


class HeldViews(Views):
    """The same for small images in memory, all of a batch at once."""

    def __init__(self, images: ArrayImages, dino: Dino, preprocessing: Preprocessing, seed: int) -> None:
        super().__init__(images, dino, preprocessing, seed)
        pixels = torch.from_numpy(images.pixels)
        self.pixels = pixels if pixels.dim() == 4 else pixels[..., None]  # n h w c

    def __getitems__(self, keys: Sequence[Key]) -> Batch:
        indices = torch.tensor([index for _, index in keys])
        pixels = self.pixels[indices].permute(0, 3, 1, 2).expand(-1, self.reading.in_chans, -1, -1) / 255  # b c h w
        draws = Draws.keyed(self.root, [number for number, _ in keys], indices)
        made = []
        for part in self.parts:
            chosen = boxes(draws, pixels.shape[2], pixels.shape[3], part.area)
            made.append(self._changed(cut(pixels, chosen, part.size, draws.chance(self.dino.flip)), part, draws))
        return self._batch(made, indices, [])


def cut(pixels: Tensor, chosen: Tensor, size: tuple[int, int], mirrored: Tensor) -> Tensor:  # b c h w, b 4, b → b c y x
    """The box of each image, brought to `size` by bilinear interpolation, mirrored left to right where that is said."""
    height, width = pixels.shape[2:]
    top, left, tall, wide = chosen.float().T[..., None]
    y = (top + (torch.arange(size[0]) + 0.5) / size[0] * tall) * 2 / height - 1  # b y
    x = (left + (torch.arange(size[1]) + 0.5) / size[1] * wide) * 2 / width - 1  # b x
    x = torch.where(mirrored[:, None], x.flip(1), x)
    places = torch.stack([x[:, None].expand(-1, size[0], -1), y[..., None].expand(-1, -1, size[1])], -1)
    options: dict[str, Any] = dict(mode="bilinear", padding_mode="border", align_corners=False)
    return F.grid_sample(pixels, places, **options)
