"""`allmlp.explain.write`: a model → a folder with one self-contained page, its pictures, and all numbers as JSON."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from allmlp.engine.cost import parameters
from allmlp.errors import RunError
from allmlp.explanation.arrange import common_limit, panels
from allmlp.explanation.main import Explanation
from allmlp.explanation.numbers import by_axis
from allmlp.explanation.pruning import least_kept
from allmlp.files import whole_file, writing
from allmlp.reporting import layers, maps
from allmlp.reporting.plates import Plates
from allmlp.reporting.template import render
from allmlp.run import write_json

MEASURES = {
    "radius": ("Mixing radius", "patches", False),
    "locality": ("Locality", "weight within one patch", True),
    "sparsity": ("Sparsity at 5 % of the maximum", "entries that are faint", True),
    "effective_rank": ("Effective rank", "directions", False),
}
"""Field of `MixingNumbers` → title, unit, whether it is a share."""


def write_explanation(found: Explanation, out: str | os.PathLike[str], *, subject: str = "") -> Path:
    """Write index.html, explain.json and the pictures into `out`, which is made if need be. Returns the page's path.

    subject: what was explained, for the page's heading. Files of an earlier explanation are replaced.
    Raises RunError where nothing can be written.
    """
    folder = ready(out)
    plates = Plates(folder)
    model = found.model
    title = subject or model.name or model.family
    html = render(
        "explanation.html.j2",
        title=title,
        model=model,
        size=" × ".join(map(str, model.img_size)),
        parameters=parameters(model),
        without=found.without,
        mixing=_mixing(found, plates, title) if found.mixings else None,
        pruned=_pruned(found, plates) if found.pruned else None,
    )
    write_json(folder / "explain.json", {"subject": title, **found.record(), "pictures": plates.files})
    page = folder / "index.html"
    with writing(page), whole_file(page) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
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
        raise RunError(f"{folder} cannot be written: {error.strerror}", mend="choose another --out") from None
    return folder


def _mixing(found: Explanation, plates: Plates, title: str) -> dict[str, Any]:
    """Maps, lines by layer, and the rows of the table."""
    shown = panels(found.mixings)
    limit = common_limit(shown)
    plates.file(maps.mixing_maps, shown, name="mixing", limit=limit, title=f"Token mixing of {title}")
    return {
        "maps": [
            plates.inline(
                maps.mixing_maps,
                [panel],
                name=f"map{i}",
                description=f"Weights of {panel.title}: {panel.note}. The table of layers has their numbers.",
                limit=limit,
                scale=False,
            )
            for i, panel in enumerate(shown)
        ],
        "scale": plates.inline(maps.colour_scale, name="scale", description=f"Colours from −{limit:.2g} to {limit:.2g}", limit=limit),
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
