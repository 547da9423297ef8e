"""Pure losses."""

# axes: b batch, k classes

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:  # b k, b k → scalar, nats
    """Mean cross-entropy with target probabilities, in float32 whatever the logits are."""
    return F.cross_entropy(logits.float(), target)
