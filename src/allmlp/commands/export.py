"""allmlp export"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from allmlp.commands.words import pair, parse, print_json, say
from allmlp.errors import EngineError


@dataclass(frozen=True, kw_only=True)
class Words:
    """Write a model as a bundle that programs without allmlp load: the file, bundle.json, and a README with the code.

    The file is run on real images and compared with the model before the bundle is there; one that disagrees is not written.
    """

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_OR_MODEL")]
    """The run folder, its .safetensors file, or the name of a released checkpoint (allmlp models --released)."""
    format: Literal["onnx", "openvino", "executorch", "litert", "coreml", "torch", "safetensors", "timm"] = "onnx"
    """What to write: a graph for ONNX Runtime, OpenVINO, torch.export or phones (executorch, litert, coreml); or weights."""
    precision: Literal["fp32", "fp16", "bf16", "int8"] = "fp32"
    """What it computes in, as far as the format offers it; int8 is calibrated on images."""
    batch: str | None = None
    """Images at a time: a number, or dynamic for any; without it any, or one where memory is planned ahead, as on phones."""
    with_preprocessing: bool = False
    """Resizing, cropping and normalising inside the graph: pictures of any size in, as uint8, rows × columns × channels."""
    data: str | None = None
    """Pictures to compare on and to calibrate with; without it the run's own, else the embedded ones."""
    out: Path | None = None
    """The folder to write, which must be new; without it exports/FORMAT-PRECISION in the run."""
    weights: Literal["best", "last"] = "best"
    """Which weights of a run."""
    img_size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="HEIGHT [WIDTH]")] = None
    """Resize the model to this size in pixels first; one number for both sides."""
    min_agreement: float = 0.9
    """Which share of the decisions must be the model's, at least."""
    json: bool = False
    """Print bundle.json on stdout."""


def main(words: list[str]) -> int:
    given = parse(Words, words, command="export")
    batch = _batch(given.batch, given.format)
    from allmlp.exporting.main import export

    done = export(
        given.run,
        format=given.format,
        precision=given.precision,
        batch=batch,
        with_preprocessing=given.with_preprocessing,
        data=given.data,
        out=given.out,
        which=given.weights,
        img_size=pair(given.img_size),
        min_agreement=given.min_agreement,
        quiet=False,
    )
    if given.json:
        print_json(done)
        return 0
    found = done["parity"]
    lines = [
        (
            "model",
            f"{done['name']}, {len(done['classes'])} classes, {'×'.join(map(str, done['preprocessing']['img_size']))} pixels",
        ),
        ("wrote", f"{done['out']}: {', '.join(done['files'])}"),
        ("compared", f"on {found['images']} {found['of']}: logits off by {found['deviation']:.1e}"),
        ("decisions", f"{found['agreement']:.1%} the same"),
        *([("run by", done["compared_by"])] if "compared_by" in done else []),
    ]
    say("\n".join(f"{word:<10} {what}" for word, what in lines))
    return 0


def _batch(word: str | None, kind: str) -> int | None:
    if word == "dynamic" and kind in ("executorch", "litert", "coreml"):
        raise EngineError(
            f"--batch dynamic: {kind} plans its memory ahead", hint="leave --batch out, or give a number of images"
        )
    if word is None or word == "dynamic":
        return None
    if not word.isdecimal() or int(word) < 1:
        raise EngineError(f"--batch {word}", hint="give dynamic, or a number of images from 1 on")
    return int(word)
