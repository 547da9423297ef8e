"""allmlp convert"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from allmlp.commands.words import parse, print_json, say, split_hyper
from allmlp.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class Words:
    """Write a checkpoint in another layout; every number stays as it is.

    FILE is a checkpoint in any layout (.safetensors, .pth without code, Google's .npz), a run folder, or a released
    checkpoint's name (allmlp models --released). Layout, model and hyper-parameters are read off names and shapes.
    What these do not show is the variant's, or what the layout's own code computes with; --hyper.act gelu says otherwise.
    Weights of allmlp's own have a JSON beside them with model, classes and preprocessing, and work in every command.
    """

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """What to convert."""
    to: Literal["allmlp", "timm", "official"]
    """The layout: allmlp's own, timm's, or that of the authors' release."""
    out: Path
    """The file to write, which must be new: .safetensors, .pth, or .npz for Google's layout."""
    model: str | None = None
    """What model it is, where shapes leave a doubt, or which released checkpoint, such as mixer_b16.miil_in21k."""
    classes: str | None = None
    """Names of the outputs: a file with one a line, or imagenet-1k, imagenet-21k-goog, imagenet-21k-miil."""
    weights: Literal["best", "last"] = "best"
    """Which weights of a run."""
    json: bool = False
    """Print what was done as JSON on stdout."""


def main(words: list[str]) -> int:
    words, hyper = split_hyper(words)
    given = parse(Words, words, command="convert")
    from allmlp.conversion.convert import Given, convert

    known = Given(given.model, hyper, None if given.classes is None else _classes(given.classes))
    done = convert(given.file, to=given.to, out=given.out, given=known, which=given.weights)
    if given.json:
        print_json(done)
    else:
        say("\n".join(f"{word:<14} {what}" for word, what in _told(done)))
    return 0


def _classes(given: str) -> tuple[str, ...]:
    from allmlp.released.classes import DATA_SETS, class_names

    path = Path(given)
    if given in DATA_SETS:
        return class_names(given)
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"--classes {given} cannot be read: {error}", hint=f"give a text file, or one of {', '.join(DATA_SETS)}"
        ) from None


def _told(done: dict[str, Any]) -> list[tuple[str, str]]:
    """What was done, line by line."""
    size, spec = "×".join(map(str, done["img_size"])), done["preprocessing"]
    lines = [
        ("read", f"{done['file']}, layout {done['layout']}"),
        ("model", f"{done['model']} for {size} pixels, {done['in_chans']} channels, {done['num_classes']} classes"),
    ]
    if done["released"]:
        lines.append(("taken for", f"{done['released']}: classes and preprocessing are its"))
    if done["assumed"]:
        shown = ", ".join(f"{name} = {_value(value)}" for name, value in done["assumed"].items())
        lines.append(("assumed", f"{shown}: not in the file (--hyper.{next(iter(done['assumed']))} says otherwise)"))
    changed = f"{done['renamed']} renamed, {done['rearranged']} with axes moved"
    lines.append(("tensors", f"{done['tensors']}: {changed}, {len(done['left_out'])} counters of BatchNorm left out"))
    if done["to"] == "allmlp":
        lines.append(("preprocessing", f"{spec['interpolation']}, crop {spec['crop_ratio']:g}, mean {_value(spec['mean'])}"))
        if not done["classes_known"]:
            lines.append(("classes", "not known, so they are numbers (--classes names them)"))
    else:
        lines.append(("left behind", "names of classes and preprocessing, which this layout does not keep"))
    if done["not_finite"]:
        more = f" and {len(done['not_finite']) - 1} more" if len(done["not_finite"]) > 1 else ""
        lines.append(("warning", f"{done['not_finite'][0]}{more} hold values that are not finite; no model can use them"))
    for name, value in done["lost"].items():
        lines.append(("note", f"code of that layout computes with {name} = {value}, this model does not"))
    return [*lines, ("wrote", f"{done['out']}, layout {done['out_layout']}")]


def _value(value: Any) -> str:
    return f"[{', '.join(map(_value, value))}]" if isinstance(value, list | tuple) else str(value)
