"""Batches in an order, and with random changes, that depend on (seed, epoch, index) alone.

The number of worker processes, and where a run was interrupted, make no difference to a pixel.
"""

# axes: b batch, c channels, h w pixels

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from allmlp.data.images import Images
from allmlp.data.keys import generator, seed_everything
from allmlp.data.unguarded import check_script
from allmlp.data.workers import EpochOrder, LastingLoader, worker_manners
from allmlp.errors import DataError
from allmlp.pixels.preprocess import Transform
from allmlp.pixels.read import UnreadableImage
from allmlp.pixels.reading import Reading, as_reading

Key = tuple[int, int]
"""(pass, index): the pass is the epoch, or where images are repeated, epoch · repeats + the number of the copy"""


@dataclass(frozen=True)
class Batch:
    """What could be decoded of one step's images, and what could not."""

    images: Tensor  # b c h w; several parts of each, for learning without labels: b v c h w
    labels: Tensor  # b
    indices: Tensor  # b
    unreadable: list[tuple[str, str]]
    """(path, reason)"""
    crops: Tensor | None = None  # b l c y x
    """Smaller parts of each image, of a size of their own."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What is kept of a step that went wrong."""
        found = {"images": self.images, "labels": self.labels, "indices": self.indices}
        return found if self.crops is None else {**found, "crops": self.crops}


class Samples(Dataset[tuple[Tensor, int, int] | UnreadableImage]):
    """Images by (pass, index), changed by a transform whose randomness is keyed by both."""

    def __init__(self, images: Images, transform: Transform, reading: Reading | int, seed: int | None) -> None:
        self.images, self.transform, self.reading, self.seed = images, transform, as_reading(reading), seed

    def __getitem__(self, key: Key) -> tuple[Tensor, int, int] | UnreadableImage:
        number, index = key
        if self.seed is not None:
            seed_everything(self.seed, "image", number, index)
        try:
            image = self.images.open(index, self.reading)
        except UnreadableImage as error:
            return error
        return self.transform(image), int(self.images.labels[index]), index


class Order(EpochOrder):
    """The batches of one epoch, from batch `start` on; of each, the share of process `rank` out of `world`.

    The batches themselves do not depend on how many processes share them. repeats: how many copies of an image stand side
    by side, in one batch but for its edges; the epoch stays as long, so that it has as many fewer images (repeated
    augmentation, Hoffer et al., 2020; Berman et al., 2019). Raises DataError for batches of no image.
    """

    def __init__(
        self, count: int, batch: int, *, seed: int | None, drop_last: bool, rank: int = 0, world: int = 1, repeats: int = 1
    ) -> None:
        if batch < 1:
            raise DataError(f"batches of {batch} images", hint="give --batch 1 or more")
        self.count, self.batch, self.seed, self.drop_last = count, batch, seed, drop_last
        self.rank, self.world, self.repeats = rank, world, repeats

    @property
    def steps(self) -> int:
        """Batches in a whole epoch."""
        return self.count // self.batch if self.drop_last else -(-self.count // self.batch)

    def __len__(self) -> int:
        last = self.count - (self.steps - 1) * self.batch  # images of the last batch, which may have none for this process
        return self.steps - self.start - (self.rank >= last)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.arange(self.count)
        if self.seed is not None:
            order = generator(self.seed, "order", self.epoch).permutation(self.count)
        for step in range(self.start, self.start + len(self)):
            places = range(self.count)[step * self.batch : (step + 1) * self.batch][self.rank :: self.world]
            yield [(self.epoch * self.repeats + p % self.repeats, int(order[p // self.repeats])) for p in places]


def training_batches(
    images: Images,
    transform: Transform,
    *,
    reading: Reading | int,
    batch: int,
    seed: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    repeats: int = 1,
) -> DataLoader[Batch]:
    """Shuffled; images left over at the end of an epoch wait for the next unless there are fewer than a batch.

    reading: how image files are decoded. batch: images of all `world` processes together; each gets its share.
    """
    batch = min(batch, len(images))
    order = Order(len(images), batch, seed=seed, drop_last=True, rank=rank, world=world, repeats=repeats)
    return batch_loader(Samples(images, transform, reading, seed), order, workers)


def plain_batches(
    images: Images, transform: Transform, *, reading: Reading | int, batch: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Every image once, in order, by one of the processes."""
    order = Order(len(images), batch, seed=None, drop_last=False, rank=rank, world=world)
    return batch_loader(Samples(images, transform, reading, None), order, workers)


def batch_loader(samples: Samples, order: Order, workers: int) -> DataLoader[Batch]:
    """Samples in an order; samples that make whole batches by themselves (`__getitems__`) may do so."""
    if workers:
        check_script()
    return LastingLoader(
        samples,  # type: ignore[arg-type]
        batch_sampler=order,
        num_workers=workers,
        collate_fn=_collate,
        persistent_workers=False,
        worker_init_fn=worker_manners if workers else None,
    )


def _collate(samples: Batch | list[tuple[Tensor, int, int] | UnreadableImage]) -> Batch:
    if isinstance(samples, Batch):
        return samples
    good = [s for s in samples if not isinstance(s, UnreadableImage)]
    bad = [(s.path, s.reason) for s in samples if isinstance(s, UnreadableImage)]
    if not good:
        return Batch(torch.empty(0), torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long), bad)
    images, labels, indices = zip(*good, strict=True)
    return Batch(torch.stack(images), torch.tensor(labels), torch.tensor(indices), bad)
