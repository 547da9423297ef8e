"""Keyed numbers: SplitMix64's own, the same in any company, uniform and unrelated."""

import numpy as np
import torch

from allmlp.data.draws import Draws


def test_numbers_are_those_of_splitmix64() -> None:
    first = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # its first outputs from state 0
    drawn = Draws(np.zeros(1, dtype=np.uint64)).uniform(3)[0]
    assert drawn.tolist() == [((bits >> 12) + 0.5) / 2**52 for bits in first]


def test_an_images_numbers_do_not_depend_on_the_rest_of_its_batch() -> None:
    def numbers(indices: list[int], epoch: int = 3) -> torch.Tensor:
        draws = Draws.keyed(7, epoch, torch.tensor(indices))
        one, two = draws.uniform(), draws.normal(4)
        some = draws.of(draws.chance(1.0)).uniform(2)
        return torch.cat([one[:, None], two, some], 1)

    whole = numbers(list(range(50)))
    assert torch.equal(numbers([13, 4, 49]), whole[[13, 4, 49]])
    assert not torch.equal(numbers([13, 4, 49], epoch=4), whole[[13, 4, 49]])


def test_numbers_are_uniform_and_unrelated_between_images_calls_and_epochs() -> None:
    draws = Draws.keyed(0, 0, torch.arange(20_000))
    table = torch.stack([draws.uniform(), draws.uniform(), Draws.keyed(0, 1, torch.arange(20_000)).uniform()])
    table = torch.cat([table, table[:1].roll(1, 1), draws.of(torch.ones(20_000, dtype=torch.bool)).uniform()[None]])
    for row in table:
        counts = torch.histc(row.float(), 16, 0, 1)
        assert float(((counts - 1250) ** 2 / 1250).sum()) < 37.7  # 15 degrees of freedom: once in a thousand seeds
    others = torch.corrcoef(table) - torch.eye(len(table))
    assert float(others.abs().max()) < 4 / 20_000**0.5  # four standard errors


def test_normal_numbers_have_the_normals_quantiles() -> None:
    drawn = Draws.keyed(1, 0, torch.arange(5000)).normal(4).flatten()
    for point, share in ((-1.6449, 0.05), (0.0, 0.5), (0.6745, 0.75), (2.3263, 0.99)):
        assert abs(float((drawn < point).double().mean()) - share) < 4 * (share * (1 - share) / 20_000) ** 0.5
    assert torch.isfinite(drawn).all()


def test_whole_numbers_stay_below_an_end_of_each_images_own() -> None:
    ends = torch.arange(1, 2001) % 9 + 1
    drawn = Draws.keyed(2, 0, torch.arange(2000)).below(ends)
    assert ((drawn >= 0) & (drawn < ends)).all()
    assert set(drawn[ends == 9].tolist()) == set(range(9))


def test_nobody_chosen_gets_no_numbers() -> None:
    draws = Draws.keyed(0, 0, torch.arange(3))
    assert draws.of(torch.zeros(3, dtype=torch.bool)).normal(2).shape == (0, 2)
