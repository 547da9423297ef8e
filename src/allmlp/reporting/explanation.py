"""`allmlp.explain.write`: a model → a folder with one self-contained page, its pictures, and all numbers as JSON."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from allmlp.engine.cost import parameters
from allmlp.errors import RunError
from allmlp.explanation.arrange import common_limit, feature_panel, panels, path_panels
from allmlp.explanation.main import Explanation
from allmlp.explanation.numbers import by_axis
from allmlp.explanation.pictures import ClassEvidence, Picture
from allmlp.explanation.pruning import least_kept
from allmlp.explanation.receptive import shown_steps
from allmlp.files import whole_file, writing
from allmlp.reporting import layers, maps, overlays
from allmlp.reporting.dataset import dataset_section
from allmlp.reporting.overlays import Overlay
from allmlp.reporting.plates import Plates
from allmlp.reporting.template import render
from allmlp.reporting.words import shortened
from allmlp.run import write_json

MEASURES = {
    "radius": ("Mixing radius", "patches", False),
    "locality": ("Locality", "weight within one patch", True),
    "sparsity": ("Sparsity", "below 5 % of the largest", True),
    "effective_rank": ("Effective rank", "directions", False),
}
"""Field of `MixingNumbers` → title, unit, whether it is a share."""

LABEL = 12
"""Longest class name over a picture, in columns; file names may be twice as long."""


def write_explanation(found: Explanation, out: str | os.PathLike[str], *, subject: str = "") -> Path:
    """Write index.html, explain.json and the pictures into `out`, which is made if need be. Returns the page's path.

    subject: what was explained, for the page's heading. Pictures that an earlier explanation wrote there are removed; other
    files are left. Raises RunError where nothing can be written.
    """
    folder = ready(out)
    _clear(folder)
    plates = Plates(folder)
    model = found.model
    title = Path(subject).name or model.name or model.family
    html = render(
        "explanation.html.j2",
        title=title,
        model=model,
        size=" × ".join(map(str, model.img_size)),
        parameters=parameters(model),
        without=found.without,
        mixing=_mixing(found, plates, title) if found.mixings else None,
        path=_path(found, plates, title) if found.path is not None else None,
        fields=_fields(found, plates, title),
        pictures=[_picture(found, picture, i, plates) for i, picture in enumerate(found.pictures)],
        additive=any(picture.classes[0].patches is not None for picture in found.pictures),
        unreadable=found.unreadable,
        pruned=_pruned(found, plates) if found.pruned else None,
        data=None if found.data is None else dataset_section(found.data, plates, title),
    )
    write_json(folder / "explain.json", {"subject": title, **found.record(), "pictures": plates.files})
    page = folder / "index.html"
    with writing(page), whole_file(page) as temporary:
        temporary.write_text(html, encoding="utf-8", errors="replace", newline="\n")
    return page


def ready(out: str | os.PathLike[str]) -> Path:
    """The folder, there and writable. Raises RunError otherwise."""
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunError(f"{folder} cannot be written: {error.strerror}", hint="choose another --out") from None
    return folder


def _clear(folder: Path) -> None:
    """Remove the pictures that explain.json says an earlier explanation wrote, and nothing else."""
    try:
        listed = json.loads((folder / "explain.json").read_text(encoding="utf-8"))["pictures"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in listed if isinstance(listed, list) else []:
        if isinstance(name, str) and Path(name).name == name and name.endswith(".png"):
            with writing(folder / name):
                (folder / name).unlink(missing_ok=True)


def _mixing(found: Explanation, plates: Plates, title: str) -> dict[str, Any]:
    """Maps, lines by layer, and the rows of the table."""
    shown = panels(found.mixings)
    limit = common_limit(shown)
    plates.file(maps.mixing_maps, shown, name="mixing", limit=limit, title=f"Token mixing of {title}")
    return {
        "maps": maps.inline_panels(shown, "map", limit),
        "scale": plates.inline(
            maps.colour_scale, name="scale", description=f"Colours from −{limit:.2g} to {limit:.2g}", limit=limit
        ),
        "kinds": {mixing.kind for mixing in found.mixings},
        "units": any(mixing.units is not None for mixing in found.mixings),
        "axes": any(mixing.axis != "grid" for mixing in found.mixings),
        "lines": _lines(found, plates, title),
        "rows": [asdict(row) for row in found.numbers],
    }


def _lines(found: Explanation, plates: Plates, title: str) -> list[tuple[str, Markup]]:
    axes = by_axis(found.numbers)
    drawn = []
    for field, (name, unit, share) in MEASURES.items():
        series = {axis: [getattr(row, field) for row in rows] for axis, rows in axes.items()}
        even = {axis: [row.even_radius for row in rows] for axis, rows in axes.items()} if field == "radius" else None
        svg = plates.both(
            layers.by_layer,
            series,
            name=field.replace("_", "-"),
            description=f"{name} by layer. The table of layers has the numbers.",
            title=f"{name}, {title}",
            unit=unit,
            share=share,
            reference=even,
        )
        drawn.append((name, svg))
    return drawn


def _path(found: Explanation, plates: Plates, title: str) -> dict[str, Any]:
    """ResMLP's linear path: maps after some of the layers."""
    assert found.path is not None
    shown = path_panels(found.path, found.mixings[0].grid, shown_steps(found.model))
    limit = common_limit(shown)
    plates.file(maps.mixing_maps, shown, name="linear-path", limit=limit, title=f"Linear path of {title}")
    return {
        "maps": maps.inline_panels(shown, "path", limit),
        "scale": plates.inline(
            maps.colour_scale, name="path-scale", description=f"From −{limit:.2g} to {limit:.2g}", limit=limit
        ),
        "radius": found.path_radius,
    }


def _fields(found: Explanation, plates: Plates, title: str) -> dict[str, Any]:
    """Receptive fields of the shown steps."""
    shown = [
        Overlay(
            title=row.step,
            note=f"half of it in {row.half_area:.0%} of the picture",
            pixels=None,
            values=np.sqrt(field.numpy()),  # the faint parts would not show
        )
        for row, field in zip(found.reaches, found.fields, strict=True)
    ]
    plates.file(overlays.overlays, shown, name="receptive-fields", title=f"Receptive fields of {title}", across=3)
    return {
        "figures": [
            plates.inline(
                overlays.overlays, [one], name=f"field-{i}", description=f"What the middle feature of {one.title} depends on"
            )
            for i, one in enumerate(shown)
        ],
        "rows": [asdict(row) for row in found.reaches],
        "images": found.field_pictures,
    }


def _picture(found: Explanation, picture: Picture, number: int, plates: Plates) -> dict[str, Any]:
    """One picture's overlays for each class, and its feature maps."""
    name, file = f"picture{number + 1}", Path(picture.path).name
    rows = [_evidence(one, picture.pixels) for one in picture.classes]
    plain = Overlay(title="as the model sees it", note=shortened(file, 2 * LABEL), pixels=picture.pixels)
    together = [overlay for row in rows for overlay in (plain, *row)]
    best = picture.classes[0]
    plates.file(overlays.overlays, together, name=f"{name}-evidence", title=f"{file}: {best.name}", across=1 + len(rows[0]))
    names = [row.step for row in found.reaches]
    features = [feature_panel(step, maps_) for step, maps_ in zip(names, picture.features, strict=True)]
    plates.file(maps.mixing_maps, features, name=f"{name}-features", title=f"Features of {file}", limit=1.0, scale=False)
    return {
        "file": file,
        "path": picture.path,
        "plain": plates.inline(overlays.overlays, [plain], name=f"{name}-plain", description=f"The picture {file}"),
        "rows": [
            {
                "name": one.name,
                "probability": one.probability,
                "logit": one.logit,
                "bias": one.bias,
                "figures": [
                    plates.inline(
                        overlays.overlays,
                        [overlay],
                        name=f"{name}-{one_number}-{i}",
                        description=f"Evidence for {one.name} in {file}: {overlay.title}, {overlay.note}",
                    )
                    for i, overlay in enumerate(row)
                ],
            }
            for one_number, (one, row) in enumerate(zip(picture.classes, rows, strict=True))
        ],
        "features": maps.inline_panels(features, f"{name}-feature", 1.0),
    }


def _evidence(one: ClassEvidence, pixels: NDArray[np.uint8]) -> list[Overlay]:
    """A class's maps; each has a scale of its own, because they are in different measures."""
    found = {"patches": one.patches, "gradients": one.gradients, "covering": one.occlusion}
    return [
        Overlay(
            title=f"{shortened(one.name, LABEL)}: {title}",
            note=f"up to {float(values.max()):+.2f}, down to {float(values.min()):+.2f}".replace("-", "−"),
            pixels=pixels,
            values=values.numpy(),
        )
        for title, values in found.items()
        if values is not None
    ]


def _pruned(found: Explanation, plates: Plates) -> dict[str, Any]:
    rows = found.pruned
    figure = plates.both(
        layers.pruning,
        [row.kept for row in rows],
        [row.top1 for row in rows],
        rows[0].images,
        name="pruning",
        description="Accuracy against the share of token-mixing weights kept. The table beside it has the numbers.",
        title="Token-mixing weights kept, and accuracy",
        chance=1 / found.model.num_classes,
    )
    return {"figure": figure, "rows": [asdict(row) for row in rows], "least": least_kept(rows), "images": rows[0].images}
