"""The table of released checkpoints: name → model, preprocessing, classes, addresses."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

from allmlp.pixels.preprocess import Preprocessing
from allmlp.registry import family_of
from allmlp.released.classes import class_names

SIZE, OUTPUTS = 224, 1000
"""Pixels a side, and outputs of the head, where the table does not say."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """One checkpoint: a `file` of the package, or addresses tried in the order hub, url; only a person can follow `page`."""

    name: str
    """VARIANT.TAG."""
    trained: str
    """On what."""
    preprocessing: Preprocessing
    top1: float | None = None
    """Of the test images of the set with its classes, in percent, as its authors state."""
    classes: str | None = None
    """Whose names its outputs have: a data set of `class_names`."""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    """In the folder weights/ beside this table."""
    hub: str | None = None
    url: str | None = None
    sha256: str | None = None
    """Of `file`, or of the file at `url`: all 64 digits, or the first ones where no more is known."""
    page: str | None = None
    licence: str | None = None

    @property
    def model(self) -> str:
        """The variant."""
        return self.name.partition(".")[0]

    def card(self) -> dict[str, Any]:
        """What stands in the JSON beside weights of our own."""
        names = class_names(self.classes) if self.classes else tuple(map(str, range(OUTPUTS)))
        return {
            "name": self.model,
            "family": family_of(self.model).name,
            "hyperparameters": {**self.hyper, "num_classes": len(names), "img_size": list(self.preprocessing.img_size)},
            "classes": list(names),
            "preprocessing": self.preprocessing.to_dict(),
            "released": self.name,
        }


@lru_cache(maxsize=1)
def released() -> dict[str, Released]:
    """Every checkpoint in the table, by name, in its order."""
    table = tomllib.loads(files("allmlp.released").joinpath("released.toml").read_text(encoding="utf-8"))
    found = {}
    for name, row in table["released"].items():
        values: dict[str, Any] = dict(row)
        side = values.pop("img_size", SIZE)
        spec = table["preprocessing"][values.pop("preprocessing")]
        preprocessing = Preprocessing.from_dict({**spec, "img_size": [side, side]})
        found[name] = Released(name=name, preprocessing=preprocessing, **values)
    return found


def named_like(file: str) -> list[Released]:
    """Those whose file at `url`, or whose own name with a file's suffix, is this file's name."""
    stem = file.rpartition(".")[0]
    return [r for r in released().values() if r.name == stem or (r.url and r.url.rpartition("/")[2] == file)]
