"""What the families' readers share: counts, widths, and what stands in for the values that shapes do not show."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isqrt
from typing import Any

from allmlp.errors import WeightsError

WIDEST = 64
"""Side of the largest square in pixels that is looked for."""
Shapes = Mapping[str, Sequence[int]]
"""Our name of a tensor → its shape."""


class Rest:
    """The values that names and shapes do not show: those that were given, else the model's own.

    own: hyper-parameter → value of the variant, or of the family. given: what a person said, which wins.
    """

    def __init__(self, own: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        self.own, self.given = own, given
        self.assumed: dict[str, Any] = {}
        """What was taken without being given."""

    def value(self, name: str) -> Any:
        """Of a hyper-parameter that is not in the shapes."""
        if name in self.given:
            return self.given[name]
        self.assumed[name] = self.own[name]
        return self.own[name]

    def size(self) -> tuple[int, int]:
        """(height, width) in pixels where no tensor depends on it."""
        return _pair(self.value("img_size"))

    def grid(self, tokens: int, patch: int) -> tuple[int, int]:
        """(rows, columns) of a number of tokens: the given size's, else a square.

        Raises WeightsError with the sizes that would fit when it is neither.
        """
        if "img_size" in self.given:
            height, width = _pair(self.given["img_size"])
            return height // patch, width // patch
        side = isqrt(tokens)
        if side * side != tokens:
            sizes = [f"[{rows * patch}, {tokens // rows * patch}]" for rows in range(side, 0, -1) if tokens % rows == 0]
            raise WeightsError(
                f"{tokens} tokens are no square, so the image's size is not known: {', '.join(sizes[:4])} or turned",
                hint=f'say which: --hyper.img_size "{sizes[0]}"',
            )
        self.assumed["img_size"] = (side * patch, side * patch)
        return side, side


def _pair(size: Any) -> tuple[int, int]:
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, int) and side > 0 for side in pair):
        raise WeightsError(f"img_size={size!r} is neither an int nor two", hint='write --hyper.img_size "[224, 160]"')
    return pair[0], pair[1]


def count(shapes: Shapes, prefix: str) -> int:
    """How many numbers from 0 follow a prefix: blocks, stages. Raises WeightsError when one is left out."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    found = {int(match[1]) for name in shapes if (match := pattern.match(name))}
    if found and max(found) >= len(found):
        raise WeightsError(
            f"of {prefix}* there are {len(found)}, with numbers up to {max(found)}", hint="convert the whole checkpoint"
        )
    return len(found)


def depths(shapes: Shapes) -> tuple[int, ...]:
    """Blocks of each stage."""
    return tuple(count(shapes, f"stages.{stage}.blocks.") for stage in range(count(shapes, "stages.")))


def classes(shapes: Shapes) -> int:
    """Of the head; 0 where there is none."""
    return shapes["head.weight"][0] if "head.weight" in shapes else 0


def expansion(*widths: Sequence[int]) -> float:
    """hidden / dim, the smallest that gives the hidden width of every pair (hidden, dim) when it is rounded down."""
    largest = max(hidden / dim for hidden, dim in widths)
    return int(largest) if largest == int(largest) else largest


def squares(total: int, smallest: int | None = None) -> list[tuple[int, ...]]:
    """Up to three sides, growing, whose squares sum to a total, each a multiple of the smallest and lying evenly around it."""
    sides = range(1, min(isqrt(total), WIDEST) + 1)
    found = []
    for least in sides if smallest is None else [smallest]:
        wider = [side for side in sides if side > least and side % least == 0 and (side - least) % 2 == 0]
        for more in range(3):
            found += [(least, *rest) for rest in combinations(wider, more) if least**2 + sum(r * r for r in rest) == total]
    return found
