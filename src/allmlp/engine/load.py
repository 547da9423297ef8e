"""A run folder, its weights, or a released checkpoint's name, as a model ready to use."""

import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from allmlp.engine.bundle import WEIGHTS, is_bundle, read_bundle
from allmlp.errors import AllmlpError, RunError, one_of
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import Preprocessing
from allmlp.released.fetch import fetch
from allmlp.released.table import released
from allmlp.run import FORMAT, Run, read_json
from allmlp.surgery.resize import resize
from allmlp.weights.files import KINDS, read_tensors
from allmlp.weights.finite import WHOLE, NotFinite, not_finite
from allmlp.weights.load import load_weights

ModelSource = str | os.PathLike[str] | Run | ImageModel
"""A run folder by its path or as `allmlp.train` returns it; weights; an exported bundle; a released checkpoint's name; or a
model that is loaded already."""


def load(source: ModelSource, *, which: str = "best", img_size: int | tuple[int, int] | None = None) -> ImageModel:
    """A trained model, in evaluation mode.

    source: a run folder; a `.safetensors` file with its JSON; an exported bundle of weights; a released checkpoint's name,
    such as "resmlp_s12.fb_in1k", which is fetched once; or a model, which is returned itself.
    which: "best" (by validation accuracy) or "last", of a run.
    img_size: for images of another size than it was trained on, in pixels (see `allmlp.resize`).
    The model knows its classes and preprocessing, so `load(run).predict([picture])` works.
    Raises RunError or WeightsError for what is missing, damaged, or cannot be fetched.
    """
    if isinstance(source, ImageModel):
        return (source if img_size is None else resize(source, img_size)).eval()
    weights, card = located(source, which)
    tensors = read_tensors(weights)
    model = build(card, weights, tensors)
    load_finite(model, tensors, weights)
    return (model if img_size is None else resize(model, img_size)).eval()


def load_finite(model: nn.Module, tensors: Mapping[str, Tensor], weights: Path) -> None:
    """`load_weights` of what was read from `weights`. Raises WeightsError, besides, with what can be done where values are not
    finite."""
    try:
        load_weights(model, tensors)
    except NotFinite as error:
        what = error.what.replace("the state dict", str(weights), 1)
        raise NotFinite(what, hint=_instead(weights)) from None


def _instead(weights: Path) -> str:
    """What there is to be used or trained, as far as the folder of such weights shows."""
    run = Run(weights.parent)
    if not run.state.is_file():
        return WHOLE
    other, ways = run.weights("last" if weights.stem == "best" else "best"), []
    with suppress(AllmlpError):
        if other.is_file() and not not_finite(read_tensors(other)):
            ways.append(f"use its {other.stem} weights (--weights {other.stem})")
    with suppress(AllmlpError):
        if run.told().get("state") != "finished" and any(run.checkpoints.glob("[!.]*")):
            ways.append(f"go on from its last checkpoint (--resume {run.folder})")
    return ", or ".join([*ways, f"train again with a lower --optim.lr, from {run.recipe}"])


def source_path(source: object) -> Path:
    """Where a run or weights lie, or a name as a path. Raises RunError for what is none of these."""
    if isinstance(source, Run):
        return source.folder
    path = os.fspath(source) if isinstance(source, str | os.PathLike) else source
    if not isinstance(path, str) or not path:
        told = "an empty name" if path == "" else f"of type {type(source).__name__}"
        raise RunError(f"a run is expected here, and what was given is {told}", hint=f"{_HINT}, or what allmlp.train returned")
    return Path(path)


def several(sources: object) -> list[Any]:
    """One source, or a list of them, as a list. Raises RunError for what is neither."""
    if isinstance(sources, str | os.PathLike | Run | ImageModel):
        return [sources]
    if not isinstance(sources, Iterable) or isinstance(sources, bytes):
        source_path(sources)
        raise RunError(f"runs are expected here, not {type(sources).__name__}", hint=_HINT)
    return list(sources)


def source_name(source: object) -> str:
    """What to call a source in records: its path or name; of a model, its architecture's name."""
    if isinstance(source, ImageModel):
        return source.name or source.family
    return str(source_path(source))


def located(source: str | os.PathLike[str] | Run, which: str = "best") -> tuple[Path, dict[str, Any]]:
    """(the file with the weights, the card that describes their model). Raises as `load` does."""
    folder = source_path(source)
    if is_bundle(folder):
        return _bundled(folder)
    if folder.is_dir():
        if which not in ("best", "last"):
            raise RunError(f"which={which!r}", hint='use "best" or "last"')
        weights = Run.open(folder).weights(which)
        if not weights.is_file():
            raise RunError(
                f"{folder} has no {which} weights yet",
                hint=f"finish it: allmlp train --resume {folder}; or restore {weights.name}",
            )
        return weights, read_card(weights.with_suffix(".json"))
    if not folder.is_file():
        return _released(str(source))
    card = folder.with_suffix(".json")
    if folder.suffix != ".safetensors" or (not card.is_file() and not (folder.parent / "run.json").is_file()):
        lacks = "no .safetensors file" if folder.suffix != ".safetensors" else f"its description {card.name} is not there"
        hint = f"allmlp convert {folder} --to allmlp --out NEW.safetensors" if folder.suffix in KINDS else _HINT
        raise RunError(f"{folder} is neither a run folder nor weights of allmlp's own: {lacks}", hint=hint)
    return folder, read_card(card)


def _bundled(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The same for a bundle that holds weights; its own card describes them."""
    card = read_bundle(folder)
    if card["format"] not in WEIGHTS:
        raise RunError(
            f"{folder} is a bundle of format {card['format']}: a graph, which predict, evaluate and serve take, and no model",
            hint="give the run it was made from, or export --format safetensors",
        )
    return folder / WEIGHTS[card["format"]][0], {**card, "format": FORMAT}


_HINT = "give the folder that allmlp train wrote, or a name that allmlp models --released lists"


def _released(name: str) -> tuple[Path, dict[str, Any]]:
    """The same for a released checkpoint."""
    if name not in released():
        near = one_of(released(), name)
        raise RunError(
            f"{name} is neither a run folder nor a .safetensors file nor a released checkpoint",
            hint=near if near.startswith("did") else _HINT,
        )
    entry = released()[name]
    return fetch(entry), {"format": FORMAT, **entry.card()}


def read_card(path: Path) -> dict[str, Any]:
    """The JSON beside weights. Raises RunError when it is missing, damaged, or newer than this allmlp."""
    card = read_json(path)
    needed = {"family": str, "name": str, "hyperparameters": dict, "classes": list, "preprocessing": dict}
    if not isinstance(card, dict) or any(not isinstance(card.get(k), kind) for k, kind in needed.items()):
        raise RunError(f"{path} does not describe a model", hint="restore the file as allmlp wrote it")
    if not isinstance(card.get("format"), int) or card["format"] > FORMAT:
        raise RunError(f"{path} is of format {card.get('format')!r}, this allmlp reads up to {FORMAT}", hint="upgrade allmlp")
    return card


def build(card: dict[str, Any], path: Path, tensors: Collection[str]) -> ImageModel:
    """The model a card describes, on the meta device: a card may promise more than there is memory for.

    path: the weights beside the card. tensors: the names in them; each block has at least one. Raises RunError.
    """
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in card["hyperparameters"].items()}
    if _blocks(values) > len(tensors):
        raise RunError(
            f"{path.with_suffix('.json')} describes {_blocks(values):,} blocks, {path.name} has {len(tensors):,} tensors",
            hint="restore both files as allmlp wrote them",
        )
    try:
        with torch.device("meta"):
            model = create_model(card["name"], **values)
        preprocessing = Preprocessing.from_dict(card["preprocessing"])
    except AllmlpError as error:
        raise RunError(f"{path.with_suffix('.json')}: {error.what}", hint=error.hint) from None
    classes = tuple(map(str, card["classes"]))
    if len(classes) != model.num_classes or preprocessing.img_size != model.img_size:
        raise RunError(
            f"{path.with_suffix('.json')} contradicts itself about classes or size", hint="restore the file as allmlp wrote it"
        )
    model.classes, model.preprocessing = classes, preprocessing
    return model


def _blocks(hyperparameters: Mapping[str, Any]) -> int:
    """How many blocks these ask for; what is no number is refused where they are built."""
    deep = [value for name, value in hyperparameters.items() if name.endswith(("depth", "depths", "blocks"))]
    numbers = [number for value in deep for number in (value if isinstance(value, tuple) else (value,))]
    return sum(number for number in numbers if isinstance(number, int))
