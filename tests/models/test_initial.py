"""Initial weights are timm's."""

import pytest
import torch
from timm.layers import lecun_normal_, trunc_normal_

from allmlp.models.initial import lecun_normal, trunc_normal


@pytest.mark.parametrize("shape", [(300, 70), (8, 3, 5, 5)])
def test_they_are_timms_to_the_bit(shape: tuple[int, ...]) -> None:
    for ours, theirs in (
        (lambda w: trunc_normal(w, std=0.02), lambda w: trunc_normal_(w, std=0.02)),
        (lecun_normal, lecun_normal_),
    ):
        made, due = torch.empty(shape), torch.empty(shape)
        torch.manual_seed(3)
        ours(made)
        torch.manual_seed(3)
        theirs(due)
        assert torch.equal(made, due)
