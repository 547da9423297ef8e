"""How released checkpoints name and shape their tensors: one table of renames per source.

A table maps our parameter names, as regular expressions, to the source's. It is read in one
direction only (the model says which names it needs), so a source with extra tensors is noticed.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

Depths = Sequence[int]
"""Blocks per stage, for sources that number blocks through; empty where there are no stages."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One source's way of writing one family."""

    source: str
    family: str
    mark: str
    """A tensor's name, or the beginning of one, that only this layout has."""
    renames: Sequence[tuple[str, str]]
    """(regular expression of our name, template of theirs); `{j}` is the block counted through the stages,
    `{last}` the last stage, and `{s-1}` or `{i+2}` a number that the source counts from elsewhere."""
    to_ours: Callable[[str, Tensor], Tensor] = lambda name, tensor: tensor
    """(their name, their tensor) → a tensor in our axis order."""

    def names_of(self, ours: Iterable[str], depths: Depths) -> dict[str, str | None]:
        """Every one of our parameters and what this source calls it."""
        return {name: self.name_of(name, depths) for name in ours}

    def name_of(self, ours: str, depths: Depths) -> str | None:
        """What this source calls our parameter; None when it has no name for it."""
        for pattern, template in self.renames:
            match = re.fullmatch(pattern, ours)
            if match:
                groups = {**match.groupdict(), "last": str(len(depths) - 1)}
                if "s" in groups and "i" in groups:
                    groups["j"] = str(sum(depths[: int(groups["s"])]) + int(groups["i"]))
                for letter, distance in ELSEWHERE.findall(template):
                    groups[letter + distance] = str(int(groups[letter]) + int(distance))
                return template.format_map(groups)
        return None


ELSEWHERE = re.compile(r"\{(\w)([+-]\d+)\}")
"""A number of ours and how far the source's is from it, in a template."""
BLOCK = r"blocks\.(?P<i>\d+)\."
"""The beginning of our names inside block i of a token model."""
STAGE = r"stages\.(?P<s>\d+)\.blocks\.(?P<i>\d+)\."
"""The same inside stage s of a pyramid."""
LAST = r"(?P<p>\w+)"
"""weight, bias, alpha, … : what both sides call the same."""


def vector(tensor: Tensor) -> Tensor:  # 1 1 c → c
    """Per-channel parameters that a source keeps with axes of one."""
    return tensor.reshape(-1)


def matrix(tensor: Tensor) -> Tensor:  # o i 1 1 → o i
    """A 1 × 1 convolution as the linear map it is."""
    return tensor.flatten(1)
