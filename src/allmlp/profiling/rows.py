"""What was found out about each model."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from allmlp.profiling.published import Published


@dataclass(kw_only=True)
class Row:
    """One model; None, and no rounds, where it was not measured. Written to while the measurement goes on."""

    name: str
    """A variant, a run folder, or timm's name."""
    kind: str
    """"allmlp", "run" or "timm"."""
    folded: bool
    """Whether this is the inference form (allmlp.fold)."""
    batch: int
    """Images at a time, for throughput and memory."""
    img_size: tuple[int, int] | None = None
    """Height and width, pixels."""
    parameters: int | None = None
    macs: int | None = None
    """Multiply-adds of one image in convolutions and matrix products."""
    activations: int | None = None
    """Numbers that convolutions and matrix products put out for one image."""
    channels_last: bool | None = None
    """Whether it was measured with channels innermost in memory."""
    peak_bytes: int | None = None
    """The most memory held at one moment for one batch: weights, images, and what is made of them."""
    batch_seconds: list[float] = field(default_factory=list)
    """Each round's median for one batch."""
    single_seconds: list[float] = field(default_factory=list)
    """Each round's median for one image alone."""
    published: Published | None = None
    error: str | None = None
    """Why it could not be measured."""

    @property
    def label(self) -> str:
        return f"{self.name} folded" if self.folded else self.name

    @property
    def images_per_s(self) -> float | None:
        """Median over rounds."""
        return self.batch / statistics.median(self.batch_seconds) if self.batch_seconds else None

    @property
    def images_per_s_spread(self) -> float | None:
        return spread(self.batch_seconds)

    @property
    def ms(self) -> float | None:
        """Milliseconds for one image alone; median over rounds."""
        return 1000 * statistics.median(self.single_seconds) if self.single_seconds else None

    @property
    def ms_spread(self) -> float | None:
        return spread(self.single_seconds)

    def to_dict(self) -> dict[str, Any]:
        """Every field and what follows from it, for JSON."""
        derived = ("label", "images_per_s", "images_per_s_spread", "ms", "ms_spread")
        return {**asdict(self), **{name: getattr(self, name) for name in derived}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Row":
        """What `to_dict` made."""
        found = {k: v for k, v in values.items() if k in cls.__dataclass_fields__}
        record = found["published"]
        size = found["img_size"]
        return cls(
            **{
                **found,
                "published": None if record is None else Published(**record),
                "img_size": None if size is None else tuple(size),
            }
        )


@dataclass(frozen=True)
class Profile:
    """Rows in the order they were asked for, and how they were measured."""

    rows: list[Row]
    environment: dict[str, Any]
    """Versions, processor, threads, device, precision, batch, rounds, seconds."""
    interrupted: bool = False
    """Whether Ctrl-C ended it early; the rows hold what there was by then."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "environment": self.environment,
            "interrupted": self.interrupted,
            "rows": [row.to_dict() for row in self.rows],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Profile":
        """What `to_dict` made."""
        return cls([Row.from_dict(row) for row in values["rows"]], values["environment"], values["interrupted"])


def spread(values: Sequence[float]) -> float | None:
    """Half the distance between the quartiles, as a share of the median; None for a single value."""
    if len(values) < 2:
        return None
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2 / middle
