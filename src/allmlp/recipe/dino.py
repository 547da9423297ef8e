"""What a run without labels is made of."""

from dataclasses import dataclass

from allmlp.errors import RecipeError
from allmlp.recipe.bounds import within

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Dino:
    """A student learns what its teacher, the running mean of its own weights, says of other parts of the same picture
    (DINO, Caron et al., 2021). The defaults are that article's."""

    local_crops: int = 8
    """Small parts of each picture, which the student sees besides the two large ones that both see."""
    local_size: tuple[int, int] | None = None
    """Height and width of the small parts in pixels; token mixing is resized for them in every step. None: they are
    enlarged to the model's own input (docs/decisions/0014)."""
    global_area: Range = (0.4, 1.0)
    """Least and largest share of the picture that a large part takes."""
    local_area: Range = (0.05, 0.4)
    """The same of a small part."""
    flip: float = 0.5
    """Probability of mirroring a part left to right."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    """Strength of random brightness, contrast, saturation and hue; hue in turns, at most 0.5."""
    jitter_prob: float = 0.8
    """Share of the parts whose colours are changed so."""
    grey: float = 0.2
    """Share of the parts without colour."""
    blur: tuple[float, float, float] = (1.0, 0.1, 0.5)
    """Probability of blurring the first large part, the second, and each small one."""
    solarize: float = 0.2
    """Probability of inverting the light pixels of the second large part."""
    outputs: int = 65536
    """What the projection head ends with: the "classes" that student and teacher make up."""
    hidden: int = 2048
    """Hidden units of the head's three layers."""
    bottleneck: int = 256
    """Width of the unit vectors before the last layer."""
    temperature: float = 0.1
    """By what the student's outputs are divided."""
    teacher_temperature: Range = (0.04, 0.07)
    """The teacher's, at first and after `teacher_warmup`."""
    teacher_warmup: float = 30.0
    """Epochs in which the teacher's temperature grows in a line."""
    momentum: Range = (0.996, 1.0)
    """How much of itself the teacher keeps in a step, at first and, after a cosine, at the end."""
    centre: float = 0.9
    """How much of itself the centre of the teacher's outputs keeps in a step."""
    freeze_last: float = 1.0
    """First epochs in which the head's last layer stays as it is."""
    knn_every: int = 5
    """Epochs between looks at how well nearest neighbours tell the classes of validation images, if there are classes."""
    knn_images: int = 20000
    """Training images, at most, that are their neighbours."""
    patience: int = 3
    """After so many epochs in a row with one answer for all images the run stops; 0: never."""

    def __post_init__(self) -> None:
        for name in ("outputs", "hidden", "bottleneck", "knn_every", "knn_images"):
            within(self, name, least=1)
        for name in ("local_crops", "teacher_warmup", "freeze_last", "patience"):
            within(self, name, least=0)
        for name in ("flip", "jitter_prob", "grey", "solarize", "centre"):
            within(self, name, least=0, most=1)
        within(self, "temperature", above=0)
        self._ranges()

    def _ranges(self) -> None:
        rules = {
            "global_area": all(0 < value <= 1 for value in self.global_area) and self.global_area[0] <= self.global_area[1],
            "local_area": all(0 < value <= 1 for value in self.local_area) and self.local_area[0] <= self.local_area[1],
            "teacher_temperature": min(self.teacher_temperature) > 0,
            "momentum": all(0 <= value <= 1 for value in self.momentum),
            "blur": all(0 <= value <= 1 for value in self.blur),
            "jitter": all(0 <= value <= 1 for value in self.jitter) and self.jitter[3] <= 0.5,
            "local_size": self.local_size is None or min(self.local_size) > 0,
        }
        hints = {
            "global_area": "give two shares in (0, 1], the least first",
            "local_area": "give two shares in (0, 1], the least first",
            "teacher_temperature": "give two values above 0",
            "local_size": "give height and width in pixels",
            "jitter": "give four values in [0, 1], the last at most 0.5",
        }
        for name, right in rules.items():
            if not right:
                values = list(getattr(self, name))
                raise RecipeError(f"dino.{name} is {values}", hint=hints.get(name, "give values in [0, 1]"))
