"""Image recognition with networks made of nothing but multi-layer perceptrons.

    import allmlp
    run = allmlp.train("pictures/", model="resmlp_xs")
    model = allmlp.load(run)
    model.predict("photo.jpg")

Wherever a run is asked for, its folder, the run itself, a released checkpoint's name, or a model will do.

Every public name is loaded when it is first used, so that importing allmlp costs nothing.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wrapt import when_imported

if TYPE_CHECKING:
    from allmlp.engine.compiled import compile  # noqa: A004 - the verb the rest of the world has for it
    from allmlp.engine.load import load
    from allmlp.engine.verbs import fold, load_weights, resize
    from allmlp.errors import AllmlpError
    from allmlp.evaluation.classification import evaluate
    from allmlp.evaluation.comparison import compare
    from allmlp.explain import Explain
    from allmlp.exporting.main import export
    from allmlp.models import create_model, list_models
    from allmlp.prediction.pictures import predict
    from allmlp.profiling.main import profile
    from allmlp.recipe import Recipe, load_recipe
    from allmlp.reporting.page import write_report as report
    from allmlp.shrinking.main import shrink
    from allmlp.training.main import pretrain, resume, train

    explain: Explain

__version__ = version("allmlp")

_HOMES = {
    "AllmlpError": "allmlp.errors:AllmlpError",
    "Recipe": "allmlp.recipe:Recipe",
    "compare": "allmlp.evaluation.comparison:compare",
    "compile": "allmlp.engine.compiled:compile",
    "create_model": "allmlp.models:create_model",
    "evaluate": "allmlp.evaluation.classification:evaluate",
    "explain": "allmlp.explain",
    "export": "allmlp.exporting.main:export",
    "fold": "allmlp.engine.verbs:fold",
    "list_models": "allmlp.models:list_models",
    "load": "allmlp.engine.load:load",
    "load_recipe": "allmlp.recipe:load_recipe",
    "load_weights": "allmlp.engine.verbs:load_weights",
    "predict": "allmlp.prediction.pictures:predict",
    "pretrain": "allmlp.training.main:pretrain",
    "profile": "allmlp.profiling.main:profile",
    "report": "allmlp.reporting.page:write_report",
    "resize": "allmlp.engine.verbs:resize",
    "resume": "allmlp.training.main:resume",
    "shrink": "allmlp.shrinking.main:shrink",
    "train": "allmlp.training.main:train",
}

__all__ = [
    "AllmlpError",
    "Recipe",
    "compare",
    "compile",
    "create_model",
    "evaluate",
    "explain",
    "export",
    "fold",
    "list_models",
    "load",
    "load_recipe",
    "load_weights",
    "predict",
    "pretrain",
    "profile",
    "report",
    "resize",
    "resume",
    "shrink",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'allmlp' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = import_module(module)
    if attribute:
        value = getattr(value, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


@when_imported("timm")
def _tell_timm(_timm: Any) -> None:
    """timm.create_model knows our names as soon as both packages are imported, in either order."""
    import_module("allmlp.models")
    import_module("allmlp.timm_names").register()
