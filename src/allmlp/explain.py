"""`allmlp.explain`: what a model does, as arrays, numbers and one page.

found = allmlp.explain.explained(allmlp.load(run), ["cat.jpg"])
allmlp.explain.write(found, "why")
[allmlp.explain.mixing_radius(layer.matrix, layer.grid).mean() for layer in allmlp.explain.token_mixing(model)]
"""

from allmlp.explanation.dataset import DataSet, agreement, explain_data, features, nearest, principal
from allmlp.explanation.evidence import (
    gradient_times_input,
    integrated_gradients,
    occlusion,
    patch_evidence,
    per_cell,
    step_evidence,
)
from allmlp.explanation.features import feature_maps
from allmlp.explanation.main import Explanation, explained
from allmlp.explanation.measures import effective_rank, locality, mixing_radius, rank, sparsity, symmetry
from allmlp.explanation.numbers import MixingNumbers, mixing_numbers
from allmlp.explanation.path import linear_path
from allmlp.explanation.pictures import ClassEvidence, Picture, explain_pictures
from allmlp.explanation.pruning import Pruned, least_kept, prune_curve
from allmlp.explanation.receptive import Reach, reach, receptive_field
from allmlp.explanation.units import mean_frequency, opposing_pairs
from allmlp.operators import Mixing, token_mixing
from allmlp.reporting.explanation import ready
from allmlp.reporting.explanation import write_explanation as write

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
