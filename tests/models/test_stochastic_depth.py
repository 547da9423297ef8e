"""How often each family drops which block: at one rate, or growing linearly with depth, as its paper or release does."""

import pytest
import torch
from torch import nn

from allmlp.models import create_model
from allmlp.registry import Family, families

UNIFORM, BY_STAGE = {"resmlp", "gmlp", "raftmlp"}, {"convmlp"}


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name)
def test_blocks_are_dropped_at_one_rate_or_at_one_that_grows_from_nothing_by_equal_steps(family: Family) -> None:
    with torch.device("meta"):
        model = create_model(next(iter(family.variants)), drop_path=0.3)
    whole = [_rates(step) for step in model.steps()]
    series = (
        [rates for rates in whole if len(rates) > 1]
        if family.name in BY_STAGE
        else [[rate for rates in whole for rate in rates]]
    )
    for rates in series:
        if family.name in UNIFORM:
            assert set(rates) == {0.3}
        else:
            distinct = sorted(set(rates))
            assert rates == sorted(rates)
            assert distinct == pytest.approx([0.3 * i / (len(distinct) - 1) for i in range(len(distinct))])


def _rates(step: nn.Module) -> list[float]:
    """Of its residual branches, in order."""
    branches = [m.drop_path for m in step.modules() if isinstance(getattr(m, "drop_path", None), nn.Module)]
    return [float(getattr(branch, "drop_prob", 0.0)) for branch in branches]
