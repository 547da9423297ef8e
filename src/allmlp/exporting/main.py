"""`allmlp.export`: a run → a bundle, compared with its model before it is there."""

import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from allmlp.engine.bundle import SCHEMA
from allmlp.engine.environment import processor
from allmlp.engine.kept import hashes, model_hash
from allmlp.engine.load import ModelSource, load, source_path
from allmlp.errors import AllmlpError, EngineError, RunError, one_of
from allmlp.exporting import standalone
from allmlp.exporting.formats.base import PRECISIONS, Format, Order
from allmlp.exporting.formats.table import FORMATS
from allmlp.exporting.parity import Compared, compare, refuse
from allmlp.exporting.pictures import Inputs, Pictures, open_pictures
from allmlp.exporting.readme import readme
from allmlp.files import fsync, writing
from allmlp.models.base import ImageModel
from allmlp.run import BUNDLE, write_json


def export(
    source: ModelSource,
    *,
    format: str = "onnx",  # noqa: A002 - the word on the command line
    precision: str = "fp32",
    batch: int | None = None,
    with_preprocessing: bool = False,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    which: str = "best",
    img_size: int | tuple[int, int] | None = None,
    min_agreement: float = 0.9,
    quiet: bool = True,
) -> dict[str, Any]:
    """Write a model as a bundle: the file, bundle.json, and a README with the code that loads it without allmlp.

    Beside the README lies read_image.py, the code by which allmlp reads image files.

    source: whatever `allmlp.load` takes. format: "onnx", "openvino", "executorch", "litert", "coreml",
    "torch", "safetensors" or "timm".
    precision: "fp32", "fp16", "bf16" or "int8", as far as the format offers it. batch: images at a time; None: any
    number, or one in the formats for phones, whose memory is planned ahead.
    with_preprocessing: pictures in (b h w c of uint8, any size) and not normalised images (b c h w).
    data: pictures to compare on, and to calibrate int8 with; None: the run's own, else the embedded Fashion-MNIST.
    out: a new folder; None: FORMAT-PRECISION in the run's folder `exports`, or NAME-FORMAT-PRECISION here.
    The file is run before the folder appears, whole: in fp32 its logits must be within 1e-4 of the model's, relative to
    their norm (1e-3 with preprocessing, which rounds pixels); and at least `min_agreement`, a share in [0, 1], of its
    decisions must be the model's.
    Returns what bundle.json says, and where it is ("out").
    Raises EngineError for what is not offered, not installed, or does not agree; RunError for a folder that is there.
    """
    made = _format(format, precision, batch, min_agreement)
    model = load(source, which=which, img_size=img_size)
    batch = 1 if batch is None and made.planned else batch
    order = Order(model=model, precision=precision, batch=batch, with_preprocessing=with_preprocessing)
    made.check(order)
    folder = _new(source, out, f"{format}-{precision}{'-pictures' * with_preprocessing}", model.name)
    pictures = open_pictures(source, data, quiet=quiet)
    order = replace(order, calibration=Inputs(pictures.calibrating, order))
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            card = _made(made, order, workshop, pictures, min_agreement, quiet)
            for path in (*workshop.rglob("*"), workshop):
                path.chmod(0o755 if path.is_dir() else 0o644)
                fsync(path)
            workshop.rename(folder)
            fsync(folder.parent)
        except BaseException:
            shutil.rmtree(workshop, ignore_errors=True)
            raise
    return {**card, "out": str(folder)}


def _format(name: str, precision: str, batch: int | None, min_agreement: float) -> Format:
    """Raises EngineError for words that nothing is called."""
    for what, given, known in (("format", name, FORMATS), ("precision", precision, PRECISIONS)):
        if given not in known:
            raise EngineError(f"{what} is {given!r}", hint=one_of(known, given))
    if batch is not None and batch < 1:
        raise EngineError(f"batch is {batch}", hint="give 1 or more, or dynamic")
    if not 0 <= min_agreement <= 1:
        raise EngineError(f"min_agreement is {min_agreement:g}", hint="give a share from 0 to 1")
    return FORMATS[name]


def _new(source: ModelSource, out: str | os.PathLike[str] | None, kind: str, name: str) -> Path:
    """The folder to write. Raises RunError where something is there."""
    place = None if isinstance(source, ImageModel) else source_path(source)
    inside = place / "exports" / kind if place is not None and place.is_dir() else Path(f"{name}-{kind}")
    folder = inside if out is None else Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} is there already", hint="choose another --out, or remove it")
    return folder


def _made(made: Format, order: Order, folder: Path, pictures: Pictures, min_agreement: float, quiet: bool) -> dict[str, Any]:
    """The whole bundle in a folder; what its bundle.json says."""
    try:
        notes = made.write(order, folder)
        run = made.runner(order, folder)
    except (AllmlpError, OSError):
        raise
    except Exception as error:  # exporters raise whatever they stumble over
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        raise EngineError(
            f"{order.model.name} cannot be written as {made.name} in {order.precision}: {why}",
            hint="use another --format or --precision",
        ) from error
    found = compare(order, run, pictures.compared, quiet=quiet)
    refuse(order, found, min_agreement)
    card = _card(made, order, found, pictures, notes)
    (folder / "README.md").write_text(readme(made, order, card), encoding="utf-8")
    if made.reads_images:
        (folder / standalone.FILE).write_text(standalone.read_image_source(), encoding="utf-8")
    card["files"] = hashes(folder)
    write_json(folder / BUNDLE, card)
    return card


def _card(made: Format, order: Order, found: Compared, pictures: Pictures, notes: dict[str, Any]) -> dict[str, Any]:
    model = order.model
    entry = {"input": order.input, "output": {"name": "logits", "dtype": "float32"}} if made.graph else {}
    return {
        "bundle": SCHEMA,
        "format": made.name,
        "precision": order.precision,
        **model.card(),
        "with_preprocessing": order.with_preprocessing,
        **entry,
        **notes,
        "parity": found.to_dict(pictures.title),
        "model_hash": model_hash(model),
        "versions": {
            name.replace("_", "-"): version(name)
            for name in dict.fromkeys(("allmlp", "torch", *made.needed(order), *made.needs))
        },
        "processor": processor(),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
    }
