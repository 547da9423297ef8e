"""What the papers report about a model, from published.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from allmlp.models import list_models
from allmlp.registry import family_of


@dataclass(frozen=True, kw_only=True)
class Published:
    """One model at one image size; None where its paper is silent."""

    label: str
    """As people write the name: "ResMLP-S12"."""
    family: str
    """"ResMLP"."""
    size: int
    """Pixels of a side."""
    paper: str
    top1: float | None = None
    """Percent on ImageNet-1k, trained on it alone."""
    parameters: float | None = None
    """In 10^6."""
    gmacs: float | None = None
    images_per_s: float | None = None
    memory_mib: float | None = None
    """Peak, in 2^20 bytes: with the articles' "MB" the count of parameters fits only so."""
    speed: str | None = None
    """On what images_per_s and memory_mib were measured."""


def published(name: str, img_size: tuple[int, int]) -> Published | None:
    """The record of allmlp's or timm's model `name`; None when there is none for images of that size (height, width)."""
    record = _records().get(name)
    return record if record is not None and img_size == (record.size, record.size) else None


@lru_cache
def _records() -> Mapping[str, Published]:
    table = tomllib.loads(files("allmlp.profiling").joinpath("published.toml").read_text(encoding="utf-8"))
    return {
        name: Published(paper=source["paper"], speed=source.get("speed"), **values)
        for source in table["source"]
        for name, values in (_named(source["columns"], model) for model in source["models"])
    }


def _named(columns: list[str], model: list[Any]) -> tuple[str, dict[str, Any]]:
    values: dict[str, Any] = {column: None if value == "-" else value for column, value in zip(columns, model, strict=True)}
    name: str = values.pop("name")
    if name in list_models():
        values["top1"] = family_of(name).published.get(name)
    return name, values
