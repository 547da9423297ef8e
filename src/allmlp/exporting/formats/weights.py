"""Weights without a graph: allmlp's own safetensors, and timm's with its config."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.load import load
from allmlp.errors import EngineError, WeightsError
from allmlp.exporting.formats.base import DTYPES, Format, Order, Runner, reading_of
from allmlp.models.base import ImageModel
from allmlp.registry import family_of
from allmlp.run import write_json, write_model
from allmlp.weights import layouts
from allmlp.weights.files import write_tensors
from allmlp.weights.finite import not_finite

FILE = "model.safetensors"


class Safetensors(Format):
    """What `allmlp.load` takes; other programs find every tensor under its name. Not folded: it may be trained further."""

    name = "safetensors"
    title = "safetensors"
    precisions = tuple(DTYPES)
    needs = ("torch", "safetensors")
    graph = False
    reads_images = False

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        write_model(folder / FILE, stored(order.model.state_dict(), order.precision), order.model.card())
        return {}

    def runner(self, order: Order, folder: Path) -> Runner:
        return _run(load(folder / FILE))

    def code(self, order: Order) -> str:
        return f"""\
import json
from safetensors.torch import load_file
card = json.load(open("model.json"))
tensors = load_file("{FILE}")
for name, tensor in tensors.items():
    print(name, tuple(tensor.shape), tensor.dtype)
print(card["name"], card["hyperparameters"])
"""


class Timm(Format):
    """A folder that `timm.create_model` takes, for the architectures timm has itself: it then needs no allmlp."""

    name = "timm"
    title = "timm"
    precisions = tuple(DTYPES)
    needs = ("timm", "torch", "numpy", "pillow")
    graph = False

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        model = order.model
        state = model.state_dict()
        layout, names = layouts.layout_for("timm", model.family, list(state))
        tensors = {names[name]: layout.axes_of(names[name]).to_theirs(tensor) for name, tensor in state.items()}
        write_tensors(folder / FILE, stored(tensors, order.precision), {"format": "pt"})
        write_json(folder / "config.json", config(model))
        return {}

    def runner(self, order: Order, folder: Path) -> Runner:
        import timm

        try:
            return _run(timm.create_model(f"local-dir:{folder}", pretrained=True))
        except (RuntimeError, TypeError, ValueError) as error:
            raise EngineError(
                f"timm cannot build this model: {str(error).splitlines()[0][:200]}", hint="use another --format"
            ) from None

    def code(self, order: Order) -> str:
        read, picture = reading_of(order.model.preprocessing)
        return f"""\
import json, timm
from read_image import {read}
model = timm.create_model("local-dir:.", pretrained=True).eval()
prepare = timm.data.create_transform(**timm.data.resolve_data_config(model=model))
logits = model(prepare({picture})[None])
print(json.load(open("bundle.json"))["classes"][int(logits.argmax())])
"""


def stored(tensors: dict[str, Tensor], precision: str) -> dict[str, Tensor]:
    """Tensors of the precision; counters stay as they are."""
    kind = DTYPES[precision]
    large = not_finite({name: tensor.to(kind) for name, tensor in tensors.items() if tensor.is_floating_point()})
    if large:
        raise EngineError(f"{large[0]} has values that {precision} cannot hold", hint="use --precision bf16 or fp32")
    return {name: tensor.to(kind) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def config(model: ImageModel) -> dict[str, Any]:
    """timm's config.json: the architecture, and by what input and output the model differs from it.

    Raises WeightsError for a variant timm does not have, or hyper-parameters its code does not take.
    """
    spec, base = model.preprocessing, ARCHITECTURES.get(model.name)
    variant = family_of(model.name).variants[model.name] if base else {}
    other = {name for name, value in model.hyperparameters.items() if value != variant.get(name) and name not in WORDS}
    if base is None or other:
        differs = f", with another {' and '.join(sorted(other))}" if base else ""
        raise WeightsError(
            f"timm has no architecture like this {model.name or model.family}{differs}", hint="use another --format"
        )
    return {
        "architecture": base,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": "avg",
        "label_names": list(model.classes or map(str, range(model.num_classes))),
        "model_args": {"img_size": list(model.img_size), "in_chans": model.in_chans},
        "pretrained_cfg": {
            "input_size": [spec.in_chans, *spec.img_size],
            "fixed_input_size": True,
            "interpolation": spec.interpolation,
            "crop_pct": spec.crop_ratio,
            "crop_mode": spec.crop_mode,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "num_classes": model.num_classes,
            "first_conv": "stem.proj",
            "classifier": "head",
        },
    }


ARCHITECTURES = {
    **{f"mixer_{size}": f"mixer_{size}_224" for size in ("s32", "s16", "b32", "b16", "l32", "l16")},
    **{f"resmlp_s{depth}": f"resmlp_{depth}_224" for depth in (12, 24, 36)},
    "resmlp_b24_p8": "resmlp_big_24_224",
    **{f"gmlp_{size}": f"gmlp_{size}16_224" for size in ("ti", "s", "b")},
}
"""Our variant → timm's architecture."""
WORDS = ("img_size", "in_chans", "num_classes", "drop_path", "layer_scale")
"""Hyper-parameters that timm's code takes, or that training alone needs."""


def _run(model: torch.nn.Module) -> Runner:
    model = model.float().eval()

    def run(images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model(images)

    return run
