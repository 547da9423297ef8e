"""A run folder, or its weights, as a model ready to use."""

import os
from pathlib import Path
from typing import Any

from allmlp.errors import AllmlpError, RunError
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import Preprocessing
from allmlp.run import FORMAT, Run, read_json
from allmlp.surgery.resize import resize
from allmlp.weights.load import load_weights


def load(
    source: str | os.PathLike[str] | Run, *, which: str = "best", img_size: int | tuple[int, int] | None = None
) -> ImageModel:
    """The trained model of a run folder or of a `.safetensors` file with its JSON, in evaluation mode.

    which: "best" (by validation accuracy) or "last". img_size: for images of another size than it was trained on, in
    pixels (see `allmlp.resize`). The model knows its classes and preprocessing, so
    `load(run).predict([picture])` works. Raises RunError or WeightsError for what is missing or damaged.
    """
    folder = source.folder if isinstance(source, Run) else Path(source)
    if folder.is_dir():
        if which not in ("best", "last"):
            raise RunError(f"which={which!r}", mend='use "best" or "last"')
        weights = Run.open(folder).weights(which)
        if not weights.is_file():
            raise RunError(
                f"{folder} has no {which} weights yet",
                mend=f"finish it: allmlp train --resume {folder}; or restore {weights.name}",
            )
    else:
        weights = folder
        if weights.suffix != ".safetensors" or not weights.is_file():
            raise RunError(
                f"{source} is neither a run folder nor a .safetensors file", mend="give the folder that allmlp train wrote"
            )
    card = read_card(weights.with_suffix(".json"))
    model = build(card, weights)
    load_weights(model, weights)
    return (model if img_size is None else resize(model, img_size)).eval()


def read_card(path: Path) -> dict[str, Any]:
    """The JSON beside weights. Raises RunError when it is missing, damaged, or newer than this allmlp."""
    card = read_json(path)
    needed = {"family": str, "name": str, "hyperparameters": dict, "classes": list, "preprocessing": dict}
    if not isinstance(card, dict) or any(not isinstance(card.get(k), kind) for k, kind in needed.items()):
        raise RunError(f"{path} does not describe a model", mend="restore the file as allmlp wrote it")
    if not isinstance(card.get("format"), int) or card["format"] > FORMAT:
        raise RunError(f"{path} is of format {card.get('format')!r}, this allmlp reads up to {FORMAT}", mend="upgrade allmlp")
    return card


def build(card: dict[str, Any], path: Path) -> ImageModel:
    """The model a card describes, with fresh weights."""
    try:
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in card["hyperparameters"].items()}
        model = create_model(card["name"], **values)
        preprocessing = Preprocessing.from_dict(card["preprocessing"])
    except AllmlpError as error:
        raise RunError(f"{path.with_suffix('.json')}: {error.what}", mend=error.mend) from None
    classes = tuple(map(str, card["classes"]))
    if len(classes) != model.num_classes or preprocessing.img_size != model.img_size:
        raise RunError(
            f"{path.with_suffix('.json')} contradicts itself about classes or size", mend="restore the file as allmlp wrote it"
        )
    model.classes, model.preprocessing = classes, preprocessing
    return model
