"""How released checkpoints name and shape their tensors: one table of renames per source, read in both directions.

A table pairs our names with the source's. Both sides are templates, whose fields stand for what the two share:
`{i}` and the other NUMBERS for a number, any other letter for one word between dots.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from torch import Tensor

Depths = Sequence[int]
"""Blocks per stage, for sources that number blocks through; empty where there are no stages."""
Values = dict[str, str]
"""Letter of a field → what stands there."""

NUMBERS = "ijkns"
FIELD = re.compile(r"\{(\w)([+-]\d+)?\}")
"""A letter, and how far the source's number is from ours."""


@dataclass(frozen=True)
class Axes:
    """How a source's tensor lies against ours. Each function undoes the other, and moves numbers without changing any."""

    to_ours: Callable[[Tensor], Tensor]
    to_theirs: Callable[[Tensor], Tensor]


SAME = Axes(lambda tensor: tensor, lambda tensor: tensor)
VECTOR = Axes(lambda tensor: tensor.reshape(-1), lambda tensor: tensor[None, None])
"""1 × 1 × c ↔ c."""
POINTWISE = Axes(lambda tensor: tensor.flatten(1), lambda tensor: tensor[:, :, None, None])
"""o × i × 1 × 1 ↔ o × i: a 1 × 1 convolution is a linear map."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One source's way of writing one family."""

    source: str
    """"timm", or the name of the official release."""
    family: str
    mark: str
    """A tensor's name, or the beginning of one, that only this layout has."""
    renames: Sequence[tuple[str, str]]
    """(our template, theirs); the first that fits a name counts, in either direction. Theirs may also have `{j}`, the
    block counted through the stages, `{last}`, the last stage, and `{s-1}` or `{i+2}`, numbers counted from elsewhere."""
    axes: Mapping[str, Axes] = field(default_factory=dict)
    """End of a name of theirs → how its axes lie; the first that fits counts; the same as ours where none does."""
    implies: Mapping[str, Any] = field(default_factory=dict)
    """Hyper-parameters that shapes do not show and that the source's own code computes with."""
    suffixes: Sequence[str] = (".safetensors", ".pth")
    """Kinds of file that the source's own code, or the library everybody uses, reads."""
    depths: Callable[[Mapping[str, Tensor]], Depths] = lambda theirs: ()
    """Their tensors → blocks per stage; for layouts whose templates have `{j}` or `{last}`."""

    def names_of(self, ours: Iterable[str]) -> dict[str, str | None]:
        """Every one of our names and what this source calls it; None where it has no name."""
        ours = list(ours)
        depths = depths_of(ours)
        renames = self._renames(depths)

        def numbered(values: Values) -> Values:
            if "s" in values and "i" in values:
                values["j"] = str(sum(depths[: int(values["s"])]) + int(values["i"]))
            return values

        return {name: translated(name, renames, numbered) for name in ours}

    def names_back(self, theirs: Mapping[str, Tensor]) -> dict[str, str | None]:
        """Every one of their names and what we call it; None where we have no name."""
        depths = self.depths(theirs)
        places = [(s, i) for s, depth in enumerate(depths) for i in range(depth)]
        renames = [(template, ours) for ours, template in self._renames(depths)]

        def placed(values: Values) -> Values | None:
            if "j" in values:
                if int(values["j"]) >= len(places):
                    return None
                values["s"], values["i"] = map(str, places[int(values["j"])])
            return values

        return {name: translated(name, renames, placed) for name in theirs}

    def axes_of(self, theirs: str) -> Axes:
        """How the axes of their tensor of this name lie."""
        return next((axes for end, axes in self.axes.items() if theirs.endswith(end)), SAME)

    def to_ours(self, theirs: str, tensor: Tensor) -> Tensor:
        """Their tensor in our axis order; one that has not the axes it should have is left as it is, to be reported."""
        try:
            return self.axes_of(theirs).to_ours(tensor)
        except RuntimeError:
            return tensor

    def _renames(self, depths: Depths) -> list[tuple[str, str]]:
        return [(ours, theirs.replace("{last}", str(len(depths) - 1))) for ours, theirs in self.renames]


def inside(ours: str, theirs: str, renames: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Renames of what stands below a prefix, one for each side."""
    return [(ours + a, theirs + b) for a, b in renames]


def depths_of(ours: Iterable[str]) -> Depths:
    """Blocks per stage, read off our names."""
    counts: dict[int, int] = {}
    for name in ours:
        match = re.match(r"stages\.(\d+)\.blocks\.(\d+)\.", name)
        if match:
            counts[int(match[1])] = max(counts.get(int(match[1]), 0), int(match[2]) + 1)
    return tuple(counts[stage] for stage in sorted(counts))


def translated(name: str, renames: Iterable[tuple[str, str]], complete: Callable[[Values], Values | None]) -> str | None:
    """A name under the other side's template, once `complete` has added the values that only that side has."""
    for given, wanted in renames:
        match = _pattern(given).fullmatch(name)
        values = complete(_values(given, match)) if match else None
        if values is not None:
            return _filled(wanted, values)
    return None


@lru_cache(maxsize=4096)
def _pattern(template: str) -> re.Pattern[str]:
    literals = FIELD.split(template)[::3]
    fields = [f"(?P<{letter}>" + (r"\d+)" if letter in NUMBERS else r"\w+)") for letter, _ in FIELD.findall(template)]
    return re.compile("".join(re.escape(a) + b for a, b in zip(literals, [*fields, ""], strict=True)))


def _values(template: str, match: re.Match[str]) -> Values:
    """What stands in the fields of a name, as we count."""
    distances = dict(FIELD.findall(template))
    return {
        letter: str(int(value) - int(distances[letter])) if distances[letter] else value
        for letter, value in match.groupdict().items()
    }


def _filled(template: str, values: Values) -> str:
    def filled(found: re.Match[str]) -> str:
        letter, distance = found.groups()
        return str(int(values[letter]) + int(distance)) if distance else values[letter]

    return FIELD.sub(filled, template)
