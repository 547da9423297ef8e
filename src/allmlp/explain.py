"""`allmlp.explain`: what a model does, as arrays, numbers and one page.

    found = allmlp.explain.explained(allmlp.load(run))
    allmlp.explain.write(found, "why")
    [allmlp.explain.mixing_radius(layer.matrix, layer.grid).mean() for layer in allmlp.explain.token_mixing(model)]
"""

from allmlp.explanation.main import Explanation, explained
from allmlp.explanation.measures import effective_rank, locality, mixing_radius, rank, sparsity, symmetry
from allmlp.explanation.numbers import MixingNumbers, mixing_numbers
from allmlp.explanation.operators import Mixing, token_mixing
from allmlp.explanation.pruning import Pruned, least_kept, prune_curve
from allmlp.explanation.units import mean_frequency, opposing_pairs
from allmlp.reporting.explanation import ready
from allmlp.reporting.explanation import write_explanation as write

__all__ = [
    "Explanation",
    "Mixing",
    "MixingNumbers",
    "Pruned",
    "effective_rank",
    "explained",
    "least_kept",
    "locality",
    "mean_frequency",
    "mixing_numbers",
    "mixing_radius",
    "opposing_pairs",
    "prune_curve",
    "rank",
    "ready",
    "sparsity",
    "symmetry",
    "token_mixing",
    "write",
]
