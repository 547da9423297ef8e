"""Which image size each epoch has, and the model that training begins with when that is not the last one's."""

from dataclasses import dataclass
from math import prod

from allmlp.errors import ModelError, RecipeError
from allmlp.models.base import ImageModel
from allmlp.recipe import Train
from allmlp.surgery.resize import resize

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Sizes:
    """The stages of a run, in order; most runs have one."""

    begins: tuple[int, ...]
    """The first epoch of each stage, from 0."""
    sizes: tuple[Size, ...]

    @property
    def last(self) -> Size:
        """The size of the finished model."""
        return self.sizes[-1]

    def at(self, epoch: int) -> Size:
        """The size of an epoch, from 0."""
        return self.sizes[sum(begin <= epoch for begin in self.begins) - 1]

    def changes(self, epoch: int) -> bool:
        """Whether an epoch is the first of its size: what was found at another says nothing of how good this model is."""
        return epoch == 0 or self.at(epoch) != self.at(epoch - 1)

    def left(self, done: int, epochs: int) -> float:
        """How many times as long as the epochs done the others will take, where a pixel costs the same at all sizes."""
        pixels = [prod(self.at(epoch)) for epoch in range(epochs)]
        return sum(pixels[done:]) / sum(pixels[:done])

    def __str__(self) -> str:
        first, *others = ("×".join(map(str, size)) for size in self.sizes)
        return ", ".join(
            [first, *(f"{size} from epoch {begin + 1} on" for size, begin in zip(others, self.begins[1:], strict=True))]
        )


def sizes_of(train: Train, model: ImageModel) -> Sizes:
    """model: of the last stage's size. Raises RecipeError for a size that it cannot be given."""
    sizes = tuple((height, width) for height, width, _ in train.sizes)
    for size in sizes:
        try:
            resized(model, size)
        except ModelError as error:
            raise RecipeError(
                "train.sizes has {} × {} pixels: {}".format(*size, error.what), hint=f"choose another size; {error.hint}"
            ) from None
    return Sizes(train.stage_begins, (*sizes, model.img_size))


def resized(model: ImageModel, size: Size) -> ImageModel:
    """The model on another grid, with the patches of its architecture: the last stage's model is the recipe's own."""
    return resize(model, size, patches="same")


def smaller(model: ImageModel, size: Size, *, fresh: bool) -> ImageModel:
    """The model that training begins with. fresh: it has learnt nothing, and what depends on the grid is drawn for this one."""
    small = resized(model, size)
    if fresh:
        drawn, before = small.twin().state_dict(), model.state_dict()
        tensors = small.state_dict()
        small.load_state_dict({**tensors, **{k: drawn[k] for k, v in before.items() if v.shape != tensors[k].shape}})
    return small
