"""An operation in whichever of its forms is the fastest and computes the same."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from allmlp.engine.decisions import Decision

Operation = Callable[..., Any]
"""Tensors and words → a tensor, or several; it may write over the first one it is given."""
ROUNDS = 4
Timer = Callable[[Callable[[], object]], float]
"""A call → its seconds."""

ALLOWED = {torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""How far a form may be from torch's, relative to the norm of the answer: another order of summation."""


Ask = Callable[[dict[str, Any], Callable[[], Decision]], Decision | None]
"""As `allmlp.engine.decisions.decided`."""


class Quickest:
    """One operation, in a form that is chosen at the first call with shapes that are new, and written down.

    All forms are then compared with `plain`, and those that compute the same are timed. The choice holds for every later call
    with the same shapes, in this process and, by `ask`, in every later one, so that what is recorded after a first call is
    settled, and the same numbers come out every time. Where nothing can be written down, `plain` is taken.
    """

    def __init__(self, plain: Operation, others: Sequence[Operation], seconds: Timer, ask: Ask) -> None:
        self.plain, self.forms, self.seconds, self.ask = plain, (plain, *others), seconds, ask
        self.chosen: dict[object, Operation] = {}

    def __call__(self, x: Tensor, *rest: Any, **words: Any) -> Any:
        key = _described((x, *rest)), tuple((name, _described(value)) for name, value in sorted(words.items()))
        if key not in self.chosen:
            decision = self.ask({"fastest form for": repr(key)}, lambda: self._measured(x, rest, words))
            self.chosen[key] = self._form(decision, x, rest, words)
        return self.chosen[key](x, *rest, **words)

    def _form(self, decision: Decision | None, x: Tensor, rest: Sequence[Any], words: dict[str, Any]) -> Operation:
        """The one that was decided on, if it is there and right; else `plain`."""
        number = 0 if decision is None else decision["chosen"]
        if not isinstance(number, int) or not 0 < number < len(self.forms):
            return self.plain
        form = self.forms[number]
        return form if self._right(form, x, rest, words) else self.plain

    def _right(self, form: Operation, x: Tensor, rest: Sequence[Any], words: dict[str, Any]) -> bool:
        """Whether a form computes what `plain` does."""
        try:
            due = _tensors(self.plain(x.clone(), *rest, **words))
            return _near(_tensors(form(x.clone(), *rest, **words)), due)
        except Exception:  # a kernel that this GPU has no room for, or no compiler to make it with
            return False

    def _measured(self, x: Tensor, rest: Sequence[Any], words: dict[str, Any]) -> Decision:
        """The least of ROUNDS turns of each form that is right; every second round goes backwards."""
        right = [number for number, form in enumerate(self.forms) if not number or self._right(form, x, rest, words)]
        least = dict.fromkeys(right, float("inf"))
        for turn in range(ROUNDS):
            for number in right if turn % 2 == 0 else reversed(right):
                given = x.clone()
                taken = self.seconds(partial(self.forms[number], given, *rest, **words))
                least[number] = min(least[number], taken)
        return {"chosen": min(least, key=lambda number: least[number]), "seconds": list(least.values()), "forms": right}


def _described(value: Any) -> object:
    if isinstance(value, Tensor):
        return value.dtype, value.shape, value.stride()
    return tuple(map(_described, value)) if isinstance(value, tuple) else value


def _tensors(answer: Any) -> Sequence[Tensor]:
    return (answer,) if isinstance(answer, Tensor) else answer


def _near(got: Sequence[Tensor], due: Sequence[Tensor]) -> bool:
    return all(_norm(g - d) <= ALLOWED[d.dtype] * _norm(d) for g, d in zip(got, due, strict=True))


def _norm(numbers: Tensor) -> float:
    return float(torch.linalg.vector_norm(numbers, dtype=torch.float32))
