"""`allmlp.explain`: what a model does, as arrays, numbers and one page.

found = allmlp.explain("runs/mine", ["cat.jpg"])     # or, in two steps, allmlp.explain.explained(model, ["cat.jpg"])
allmlp.explain.write(found, "why")
[allmlp.explain.mixing_radius(layer.matrix, layer.grid).mean() for layer in allmlp.explain.token_mixing("runs/mine")]

Wherever a model is asked for, a run's folder, a run, or a released checkpoint's name will do; wherever an image's tensor is
asked for, the image or its file.
"""

import os
import sys
from collections.abc import Iterable
from types import ModuleType

from allmlp.data.pictures import list_pictures
from allmlp.engine.load import ModelSource, load, source_name
from allmlp.explanation import dataset, evidence, pruning, receptive
from allmlp.explanation import features as maps
from allmlp.explanation import main as looking
from allmlp.explanation import path as paths
from allmlp.explanation.dataset import DataSet, agreement, nearest, principal
from allmlp.explanation.evidence import per_cell
from allmlp.explanation.given import of_a_model, of_an_image, of_images
from allmlp.explanation.main import Explanation
from allmlp.explanation.measures import effective_rank, locality, mixing_radius, rank, sparsity, symmetry
from allmlp.explanation.numbers import MixingNumbers, mixing_numbers
from allmlp.explanation.pictures import ClassEvidence, Picture
from allmlp.explanation.pictures import explain_pictures as pictures_explained
from allmlp.explanation.pruning import IMAGES, Pruned, least_kept
from allmlp.explanation.receptive import Reach, reach
from allmlp.explanation.units import mean_frequency, opposing_pairs
from allmlp.operators import Mixing
from allmlp.operators import token_mixing as mixing_of
from allmlp.reporting.explanation import ready
from allmlp.reporting.explanation import write_explanation as write

explain_data = of_a_model(dataset.explain_data)
explain_pictures = of_a_model(pictures_explained)
explained = of_a_model(looking.explained)
feature_maps = of_an_image(maps.feature_maps)
features = of_a_model(dataset.features)
gradient_times_input = of_an_image(evidence.gradient_times_input)
integrated_gradients = of_an_image(evidence.integrated_gradients)
linear_path = of_a_model(paths.linear_path)
occlusion = of_an_image(evidence.occlusion)
patch_evidence = of_an_image(evidence.patch_evidence)
prune_curve = of_a_model(pruning.prune_curve)
receptive_field = of_images(receptive.receptive_field)
step_evidence = of_an_image(evidence.step_evidence)
token_mixing = of_a_model(mixing_of)


def explain(
    run: ModelSource,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = (),
    *,
    out: str | os.PathLike[str] | None = None,
    which: str = "best",
    img_size: int | tuple[int, int] | None = None,
    prune: str | os.PathLike[str] | None = None,
    prune_images: int = IMAGES,
    data: str | os.PathLike[str] | None = None,
    data_images: int = dataset.IMAGES,
    quiet: bool = True,
) -> Explanation:
    """Look into a model: its token mixing, what its features depend on, and what in images speaks for a class.

    Args:
        run: whatever `allmlp.load` takes.
        images: files to explain, and folders that are searched for images; those that cannot be read are listed.
        out: a folder; the page about what was found is written there.
        which: "best" or "last" weights of a run.
        img_size: resize the model to it first, in pixels.
        prune, prune_images, data, data_images: as for `explained`.
        quiet: no bar.

    Returns:
        All that was found; `write` makes a page of it.

    Raises:
        AllmlpError: for a run, images or a folder that cannot be used.
    """
    model = load(run, which=which, img_size=img_size)
    named = images if isinstance(images, str | os.PathLike) else list(images)
    chosen = list_pictures(named, quiet=quiet) if named else []
    if out is not None:
        ready(out)
    words = {"prune_images": prune_images, "data_images": data_images}
    found = explained(model, chosen, prune=prune, data=data, quiet=quiet, **words)
    if out is not None:
        write(found, out, subject=source_name(run))
    return found


class Explain(ModuleType):
    """This module, which can be called: `allmlp.explain(run, images)` is `explain`. For type checkers it lists what is here."""

    __call__ = staticmethod(explain)
    ClassEvidence = ClassEvidence
    DataSet = DataSet
    Explanation = Explanation
    Mixing = Mixing
    MixingNumbers = MixingNumbers
    Picture = Picture
    Pruned = Pruned
    Reach = Reach
    agreement = staticmethod(agreement)
    effective_rank = staticmethod(effective_rank)
    explain_data = staticmethod(explain_data)
    explain_pictures = staticmethod(explain_pictures)
    explained = staticmethod(explained)
    feature_maps = staticmethod(feature_maps)
    features = staticmethod(features)
    gradient_times_input = staticmethod(gradient_times_input)
    integrated_gradients = staticmethod(integrated_gradients)
    least_kept = staticmethod(least_kept)
    linear_path = staticmethod(linear_path)
    locality = staticmethod(locality)
    mean_frequency = staticmethod(mean_frequency)
    mixing_numbers = staticmethod(mixing_numbers)
    mixing_radius = staticmethod(mixing_radius)
    nearest = staticmethod(nearest)
    occlusion = staticmethod(occlusion)
    opposing_pairs = staticmethod(opposing_pairs)
    patch_evidence = staticmethod(patch_evidence)
    per_cell = staticmethod(per_cell)
    principal = staticmethod(principal)
    prune_curve = staticmethod(prune_curve)
    rank = staticmethod(rank)
    reach = staticmethod(reach)
    ready = staticmethod(ready)
    receptive_field = staticmethod(receptive_field)
    sparsity = staticmethod(sparsity)
    step_evidence = staticmethod(step_evidence)
    symmetry = staticmethod(symmetry)
    token_mixing = staticmethod(token_mixing)
    write = staticmethod(write)


sys.modules[__name__].__class__ = Explain

__all__ = [
    "ClassEvidence",
    "DataSet",
    "Explanation",
    "Mixing",
    "MixingNumbers",
    "Picture",
    "Pruned",
    "Reach",
    "agreement",
    "effective_rank",
    "explain",
    "explain_data",
    "explain_pictures",
    "explained",
    "feature_maps",
    "features",
    "gradient_times_input",
    "integrated_gradients",
    "least_kept",
    "linear_path",
    "locality",
    "mean_frequency",
    "mixing_numbers",
    "mixing_radius",
    "nearest",
    "occlusion",
    "opposing_pairs",
    "patch_evidence",
    "per_cell",
    "principal",
    "prune_curve",
    "rank",
    "reach",
    "ready",
    "receptive_field",
    "sparsity",
    "step_evidence",
    "symmetry",
    "token_mixing",
    "write",
]
