"""Our variants under their names in timm's registry, next to timm's own and never over them."""

import sys
from collections.abc import Callable
from typing import Any

from torch import nn

from allmlp.errors import ModelError
from allmlp.registry import create_model, list_models

_OF_TIMM = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "checkpoint_path", "scriptable"}
"""Arguments that timm.create_model passes to every model and that say nothing about the architecture."""
_NAMES = {"drop_path_rate": "drop_path"}
"""timm's word → ours."""


def register() -> None:
    """Make every variant known to `timm.create_model`, except names that timm already has."""
    from timm.models import is_model, register_model  # here, because importing timm makes the models known, which call this

    for name in list_models():
        if not is_model(name):
            register_model(_entrypoint(name))


def names_of_timm() -> list[str]:
    """The names in timm's registry that are timm's own, sorted."""
    from timm.models import list_models as registered
    from timm.models import model_entrypoint

    return sorted(name for name in registered() if model_entrypoint(name).__module__ != __name__)


def _entrypoint(name: str) -> Callable[..., nn.Module]:
    def build(pretrained: bool = False, **values: Any) -> nn.Module:
        if pretrained:
            raise ModelError(
                f"{name} has no weights that timm could fetch", hint="create it, then allmlp.load_weights(model, file)"
            )
        given = {_NAMES.get(k, k): v for k, v in values.items() if k not in _OF_TIMM}
        model: Any = create_model(name, **given)
        spec = model.preprocessing
        model.pretrained_cfg = model.default_cfg = {
            "architecture": name,
            "num_classes": model.num_classes,
            "input_size": (spec.in_chans, *spec.img_size),
            "fixed_input_size": True,
            "mean": spec.mean,
            "std": spec.std,
            "crop_pct": spec.crop_ratio,
            "crop_mode": spec.crop_mode,
            "interpolation": spec.interpolation,
            "first_conv": next(n for n, part in model.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)),
            "classifier": "head",
        }
        built: nn.Module = model
        return built

    build.__name__ = build.__qualname__ = name
    build.__module__ = __name__
    build.__doc__ = f"allmlp's {name}; see allmlp.create_model."
    setattr(sys.modules[__name__], name, build)
    return build
