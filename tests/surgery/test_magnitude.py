"""The smallest weights go: of each matrix, or of all together."""

import torch

from allmlp.surgery.magnitude import kept, largest

WEIGHTS = {"a": torch.tensor([[5.0, -6.0], [7.0, 8.0]]), "b": torch.tensor([1.0, -2.0, 3.0, -9.0])}


def test_each_matrix_keeps_its_own_share_or_all_keep_one_together() -> None:
    of_each, of_all = (kept(WEIGHTS, 0.5, scope) for scope in ("layer", "global"))
    assert of_each["a"].tolist() == [[False, False], [True, True]]
    assert of_each["b"].tolist() == [False, False, True, True]
    assert of_all["a"].tolist() == [[False, True], [True, True]]
    assert of_all["b"].tolist() == [False, False, False, True]


def test_as_many_are_kept_as_the_share_says_even_among_equals() -> None:
    assert int(kept({"a": torch.ones(10, 10)}, 0.37)["a"].sum()) == 37
    assert largest(torch.ones(4), 0.25).sum() == 1
