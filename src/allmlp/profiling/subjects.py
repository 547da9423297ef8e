"""Words → what is to be measured: allmlp's variants, run folders, and timm's models to measure against."""

# axes: c channels, h w pixels

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import timm
from timm.models import get_pretrained_cfg
from torch import nn

from allmlp.engine.load import ModelSource, load, source_name
from allmlp.errors import ModelError, one_of
from allmlp.models import create_model, list_models
from allmlp.models.base import ImageModel
from allmlp.registry import family_of
from allmlp.released.table import released
from allmlp.run import Run
from allmlp.surgery.fold import fold
from allmlp.timm_names import names_of_timm

Shape = tuple[int, int, int]  # c h w


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One row to be."""

    name: str
    """A variant, a path, or timm's name."""
    kind: Literal["allmlp", "run", "timm"]
    model: ImageModel | None = None
    """One that is there already."""
    side: int | None = None
    """Pixels; None is the model's own size."""
    folded: bool = False
    """Whether its inference form is meant."""

    @property
    def asked_size(self) -> tuple[int, int] | None:
        """Height and width that the model is to have; None leaves them to it."""
        return None if self.side is None else (self.side, self.side)

    def build(self) -> tuple[nn.Module, Shape]:
        """The model, without weights unless it is a run's, and the shape of its images.

        Raises whatever its library raises.
        """
        if self.kind == "timm":
            return _of_timm(self.name, self.side)
        model = self.model
        if model is None:
            model = load(self.name) if self.kind == "run" else _of_allmlp(self.name, self.side)
        return fold(model) if self.folded else model, (model.in_chans, *model.img_size)


def subjects(
    names: Sequence[ModelSource], against: Sequence[str] = (), *, size: int | None = None, folded: bool = False
) -> list[Subject]:
    """Every model the words mean, once each, in their order.

    names: variants, shell patterns of such, run folders, runs, released checkpoints, models.
    against: timm's names or patterns of such. Each may end in
    @SIZE. size: pixels of a side for those that do not; None is the model's own, and a run always keeps its own.
    folded: add each of allmlp's in its inference form.
    Raises ModelError for a name or a pattern that means nothing, RunError for a folder that is no run.
    """
    found = [subject for word in names for subject in _ours(word, size)]
    if folded:
        found = [form for subject in found for form in (subject, replace(subject, folded=True))]
    return list(dict.fromkeys([*found, *(subject for word in against for subject in _timms(word, size))]))


def _ours(given: ModelSource, size: int | None) -> list[Subject]:
    word = source_name(given)
    if isinstance(given, ImageModel):
        return [Subject(name=word, kind="run", model=given)]
    if isinstance(given, Run) or word in released():
        return [Subject(name=word, kind="run")]
    if _is_path(word):
        if not (word.endswith(".safetensors") and Path(word).is_file()):
            Run.open(word)
        return [Subject(name=word, kind="run")]
    name, side = _sized(word, size)
    matching = list_models(name)
    if not matching:
        if _is_pattern(name):
            raise ModelError(f"no model matches {name!r}", hint="allmlp models lists them all")
        if name in names_of_timm():
            raise ModelError(f"{name} is timm's", hint=f"--against {word}")
        variants = family_of(name).variants  # raises for a name nobody knows
        raise ModelError(f"{name} is a family", hint=f"choose one of {', '.join(sorted(variants))}")
    return [Subject(name=n, kind="allmlp", side=side) for n in matching]


def _timms(word: str, size: int | None) -> list[Subject]:
    name, side = _sized(word, size)
    known = names_of_timm()
    matching = fnmatch.filter(known, name)
    if not matching:
        if _is_pattern(name):
            raise ModelError(f"no model of timm's matches {name!r}", hint="timm.list_models() lists them all")
        if name in list_models():
            raise ModelError(f"{name} is allmlp's", hint="name it before --against")
        if name.partition(".")[0] not in known:
            raise ModelError(f"timm has no model named {name!r}", hint=one_of(known, name))
        matching = [name]  # it ends in the tag of some weights, which may have an image size of their own
        try:
            get_pretrained_cfg(name, allow_unregistered=True)
        except RuntimeError as error:
            raise ModelError(str(error), hint=f"--against {name.partition('.')[0]}") from None
    return [Subject(name=n, kind="timm", side=side) for n in matching]


def _is_path(word: str) -> bool:
    return word not in list_models() and (os.sep in word or word.endswith(".safetensors") or Path(word).is_dir())


def _is_pattern(name: str) -> bool:
    return bool(set("*?[") & set(name))


def _sized(word: str, size: int | None) -> tuple[str, int | None]:
    """ "resnet50@160" → resnet50, 160."""
    name, at, digits = word.partition("@")
    if at and not re.fullmatch("[1-9][0-9]{0,4}", digits):
        raise ModelError(f"{word}: {digits!r} is not an image size", hint=f"write {name}@224, say")
    return name, int(digits) if at else size


def _of_allmlp(name: str, side: int | None) -> ImageModel:
    return create_model(name, **({} if side is None else {"img_size": side}))


def _of_timm(name: str, side: int | None) -> tuple[nn.Module, Shape]:
    """timm's models that are made for one image size are told it; the others take what comes."""
    config: Any = get_pretrained_cfg(name, allow_unregistered=True)
    channels, height, width = config.input_size
    shape = (channels, side or height, side or width)
    told = config.fixed_input_size and shape[1:] != (height, width)
    values: dict[str, Any] = {"img_size": side} if told else {}
    return timm.create_model(name, **values), shape
