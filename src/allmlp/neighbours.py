"""k nearest neighbours in feature space, as DINO measures features (Caron et al., 2021, section 4.1 and appendix F.1)."""

# axes: n images that vote, q images that are classified, c features, k neighbours

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

NEIGHBOURS = (10, 20, 100, 200)
TEMPERATURE = 0.07
CHUNK_BYTES = 2**28
"""Of similarities at a time."""


def knn_top1(
    voters: Tensor,  # n c
    labels: Tensor,  # n
    asked: Tensor,  # q c
    due: Tensor,  # q
    *,
    neighbours: Sequence[int] = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> dict[int, float]:
    """Share of the q images whose class the k most similar voters name, for each k that is no more than n.

    Similarity is the cosine s; a voter's weight is exp(s / temperature). Exact, a part of the q images at a time.
    """
    counts = [k for k in neighbours if k <= len(voters)]
    classes = int(labels.max()) + 1
    right = dict.fromkeys(counts, 0)
    voters = F.normalize(voters.float())
    for rows in torch.arange(len(asked)).split(max(1, CHUNK_BYTES // (4 * len(voters)))) if counts else ():
        similarity = F.normalize(asked[rows].float()) @ voters.T
        best = similarity.topk(max(counts), dim=1)
        weights, votes = (best.values / temperature).exp(), labels[best.indices]
        for k in counts:
            tally = weights.new_zeros(len(rows), classes).scatter_add_(1, votes[:, :k], weights[:, :k])
            right[k] += int((tally.argmax(1) == due[rows]).sum())
    return {k: right[k] / len(asked) for k in counts}
