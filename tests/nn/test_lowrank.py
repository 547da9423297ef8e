"""Two factors compute what their product does, along the axis they are for."""

import pytest
import torch
from torch import nn

from allmlp.nn.lowrank import LOW_RANK, linear


@pytest.mark.parametrize("kind", LOW_RANK)
def test_two_factors_are_the_map_of_their_product(kind: type[nn.Linear]) -> None:
    torch.manual_seed(0)
    whole, factors = linear(kind, 6, 6), linear(kind, 6, 6, rank=2)
    with torch.no_grad():
        whole.weight.copy_(factors.weight)
        whole.bias.copy_(factors.bias)
        shape = (3, 6, 5) if "Tokens" in kind.__name__ else (3, 4, 6, 6)
        given = torch.randn(shape)
        assert torch.allclose(whole(given), factors(given), atol=1e-6)
    assert torch.linalg.matrix_rank(factors.weight) == 2
