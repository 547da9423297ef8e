"""Augmentation policies for whole batches: timm's by their names, TrivialAugment, and colour jitter."""

# axes: b batch, c channels, h w pixels

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

import torch
from timm.data.auto_augment import AugmentOp, AutoAugment, RandAugment
from torch import Tensor

from allmlp.data import kernels
from allmlp.data.draws import Draws
from allmlp.data.kernels import Kernel

Values = Callable[[Draws, int], Tensor]
"""(draws, width or height of the picture) → one value for each image."""


@dataclass(frozen=True)
class Op:
    """One change, made with a probability."""

    kernel: Kernel
    values: Values
    probability: float = 1.0

    def __call__(self, pixels: Tensor, fill: Tensor, draws: Draws) -> Tensor:  # b c h w, c → b c h w
        chosen = draws.chance(self.probability).nonzero()[:, 0]
        values = self.values(draws, pixels.shape[2 if self.kernel is kernels.translate_y else 3])
        if len(chosen) == len(pixels):
            return self.kernel(pixels, values, fill)
        if not len(chosen):
            return pixels
        return pixels.index_copy(0, chosen, self.kernel(pixels[chosen], values[chosen], fill))


@dataclass(frozen=True)
class Policy:
    """In each round, one of several sequences of changes for each image."""

    sequences: Sequence[Sequence[Op]]
    fill: tuple[int, ...]
    """What comes in where a picture moves away, a value for each channel."""
    rounds: int = 1

    def __call__(self, pixels: Tensor, draws: Draws) -> Tensor:  # b c h w of uint8 → b c h w
        fill = torch.tensor(self.fill, dtype=torch.uint8)
        for _ in range(self.rounds):
            choice, order = draws.below(len(self.sequences)).sort()
            counts = choice.bincount(minlength=len(self.sequences)).tolist()
            parts = zip(self.sequences, pixels[order].split(counts), draws.of(order).split(counts), strict=True)
            changed = torch.cat([_in_turn(ops, part, fill, theirs) for ops, part, theirs in parts])
            pixels = torch.empty_like(changed).index_copy_(0, order, changed)
        return pixels


def _in_turn(ops: Sequence[Op], pixels: Tensor, fill: Tensor, draws: Draws) -> Tensor:  # b c h w, c → b c h w
    for op in ops if len(pixels) else ():
        pixels = op(pixels, fill, draws)
    return pixels


def jitter_policy(strength: float, fill: tuple[int, ...]) -> Policy:
    """Brightness, contrast and saturation in any order, as torchvision's ColorJitter(strength, strength, strength)."""
    factor = _spread(max(0.0, 1 - strength), 1 + strength)
    ops = [Op(kernel, factor) for kernel in (kernels.brightness, kernels.contrast, kernels.colour)]
    return Policy(list(permutations(ops)), fill)


def trivial_policy(fill: tuple[int, ...]) -> Policy:
    """TrivialAugment (Müller, Hutter, 2021), the wide space as torchvision has it: one change of a strength in 31 steps."""
    return Policy([[Op(kernel, values)] for kernel, values in TRIVIAL.items()], fill)


def timm_policy(made: object, fill: tuple[int, ...]) -> Policy | None:
    """The batch form of a policy that timm made; None where a part of it has none."""
    if isinstance(made, RandAugment) and made.choice_weights is None:
        rounds, sequences = made.num_layers, [[op] for op in made.ops]
    elif isinstance(made, AutoAugment):
        rounds, sequences = 1, made.policy
    else:
        return None
    if any(op.name not in TIMM for ops in sequences for op in ops):
        return None
    return Policy([[_timm_op(op) for op in ops] for ops in sequences], fill, rounds)


def _timm_op(op: AugmentOp) -> Op:
    kernel, level = TIMM[op.name]
    made = Op(kernel, partial(_timm_values, op, level))
    return replace(made, probability=op.prob)


def _timm_values(op: AugmentOp, level: "Level", draws: Draws, side: int) -> Tensor:  # → b
    """timm's magnitude from 0 to 10, varied as its policies say, as the kernel's value."""
    if op.magnitude_std == float("inf"):
        magnitude = draws.between(0, op.magnitude)
    else:
        magnitude = op.magnitude + op.magnitude_std * draws.normal().double()
    return level(magnitude.clamp(0, op.magnitude_max or 10) / 10, draws, side)


def _spread(low: float, high: float) -> Values:
    return lambda draws, side: draws.between(low, high)


def _sign(draws: Draws) -> Tensor:  # → b of ±1
    return 1.0 - 2 * draws.below(2)


def _steps(low: float, high: float, *, signed: bool = False, offset: float = 0.0, whole: bool = False) -> Values:
    """31 evenly spaced strengths, with either sign where signed; added to the offset."""

    def values(draws: Draws, side: int) -> Tensor:
        strength = torch.linspace(low, high, 31, dtype=torch.float64)[draws.below(31)]
        strength = strength.floor() if whole else strength
        sign = _sign(draws)
        return offset + (strength * sign if signed else strength)

    return values


_ENHANCED = _steps(0.0, 0.99, signed=True, offset=1.0)
_NONE = _steps(0.0, 0.0)

TRIVIAL: dict[Kernel, Values] = {
    kernels.identity: _NONE,
    kernels.shear_x: _steps(0.0, 0.99, signed=True),
    kernels.shear_y: _steps(0.0, 0.99, signed=True),
    kernels.translate_x: _steps(0.0, 32.0, signed=True, whole=True),
    kernels.translate_y: _steps(0.0, 32.0, signed=True, whole=True),
    kernels.rotate: _steps(0.0, 135.0, signed=True),
    kernels.brightness: _ENHANCED,
    kernels.colour: _ENHANCED,
    kernels.contrast: _ENHANCED,
    kernels.sharpness: _ENHANCED,
    kernels.posterize: lambda draws, side: 8 - (draws.below(31) / 5).round(),
    kernels.solarize: _steps(255.0, 0.0),
    kernels.auto_contrast: _NONE,
    kernels.equalize: _NONE,
}

Level = Callable[[Tensor, Draws, int], Tensor]
"""(timm's magnitude / 10, draws, side in pixels) → the kernel's value."""


def _signed(most: float) -> Level:
    return lambda level, draws, side: _sign(draws) * level * most


def _relative(level: Tensor, draws: Draws, side: int) -> Tensor:
    return _sign(draws) * level * 0.45 * side


def _enhanced(level: Tensor, draws: Draws, side: int) -> Tensor:
    return level * 1.8 + 0.1


def _enhanced_more(level: Tensor, draws: Draws, side: int) -> Tensor:
    return (1 + _sign(draws) * level * 0.9).clamp(min=0.1)


ENHANCERS = {
    "Brightness": kernels.brightness,
    "Color": kernels.colour,
    "Contrast": kernels.contrast,
    "Sharpness": kernels.sharpness,
}
TIMM: dict[str, tuple[Kernel, Level]] = {
    "AutoContrast": (kernels.auto_contrast, _signed(0)),
    "Equalize": (kernels.equalize, _signed(0)),
    "Invert": (kernels.invert, _signed(0)),
    "Rotate": (kernels.rotate, _signed(30)),
    "Posterize": (kernels.posterize, lambda level, draws, side: (level * 4).floor()),
    "PosterizeIncreasing": (kernels.posterize, lambda level, draws, side: 4 - (level * 4).floor()),
    "PosterizeOriginal": (kernels.posterize, lambda level, draws, side: 4 + (level * 4).floor()),
    "Solarize": (kernels.solarize, lambda level, draws, side: (level * 256).floor()),
    "SolarizeIncreasing": (kernels.solarize, lambda level, draws, side: 256 - (level * 256).floor()),
    "SolarizeAdd": (kernels.solarize_add, lambda level, draws, side: (level * 110).floor().clamp(max=128)),
    "ShearX": (kernels.shear_x, _signed(0.3)),
    "ShearY": (kernels.shear_y, _signed(0.3)),
    "TranslateXRel": (kernels.translate_x, _relative),
    "TranslateYRel": (kernels.translate_y, _relative),
    **{name: (kernel, _enhanced) for name, kernel in ENHANCERS.items()},
    **{f"{name}Increasing": (kernel, _enhanced_more) for name, kernel in ENHANCERS.items()},
}
"""timm's changes by their names: Pillow's kernel, and its value."""
