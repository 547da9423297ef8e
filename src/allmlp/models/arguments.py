"""Checks of hyper-parameters shared by the architectures; each raises ModelError with what fits."""

from collections.abc import Sequence

from allmlp.errors import ModelError, one_of
from allmlp.nn.mlp import ACTIVATIONS


def whole(name: str, value: object, *, least: int = 1, most: int = 1_000_000) -> int:
    """`value` as an int from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ModelError(f"{name}={value!r} is not a whole number", hint=f"give {name} as an int ≥ {least}")
    if value < least:
        raise ModelError(f"{name}={value} is less than {least}", hint=f"give {name} as an int ≥ {least}")
    if value > most:
        raise ModelError(f"{name}={value} is more than {most:,}", hint=f"give {name} as an int ≤ {most}")
    return value


def wholes(name: str, value: object, *, least: int = 1, count: int | None = None) -> tuple[int, ...]:
    """`value` as a tuple of ints, not empty; of `count` ints where there must be one for each stage."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes) or not value:
        raise ModelError(f"{name}={value!r} is not a list of whole numbers", hint=f"give {name} as, say, (2, 8, 14, 2)")
    _one_a_stage(name, value, count)
    return tuple(whole(f"{name}[{i}]", v, least=least) for i, v in enumerate(value))


def ranks(name: str, value: object, *, count: int) -> tuple[int, ...]:
    """`value` as `count` ranks from 0 on, where 0 means no low rank: of None all are 0, of a number all are that."""
    if value is None or isinstance(value, int):
        return (0 if value is None else whole(name, value),) * count
    found = wholes(name, value, least=0)
    if len(found) != count:
        raise ModelError(f"{name} has {len(found)} values for {count} matrices", hint=f"give {name} {count}, one for each")
    return found


def numbers(name: str, value: object, *, count: int) -> tuple[float, ...]:
    """`value` as a tuple of `count` floats of at least 0, one for each stage."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise ModelError(f"{name}={value!r} is not a list of numbers", hint=f"give {name} {count} numbers")
    _one_a_stage(name, value, count)
    return tuple(number(f"{name}[{i}]", v) for i, v in enumerate(value))


def _one_a_stage(name: str, value: Sequence[object], count: int | None) -> None:
    if count is not None and len(value) != count:
        raise ModelError(
            f"{name}={value!r} does not fit {count} stages", hint=f"give {name} {count} values, one for each stage"
        )


def switches(name: str, value: object, count: int) -> tuple[bool, ...]:
    """`value` as a tuple of `count` truth values."""
    if not isinstance(value, Sequence) or len(value) != count or not all(isinstance(v, bool) for v in value):
        raise ModelError(
            f"{name}={value!r} is not a list of {count} truth values", hint=f"give {name} {count} of True or False"
        )
    return tuple(value)


def number(name: str, value: object, *, least: float = 0.0, below: float = float("inf")) -> float:
    """`value` as a float with least ≤ value < below."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < below:
        raise ModelError(
            f"{name}={value!r} is not a number in [{least:g}, {below:g})", hint=f"give {name} a value in that range"
        )
    return float(value)


def hidden_width(dim: int, expansion: object, *, name: str = "expansion") -> int:
    """Channels inside an MLP that widens `dim` by `expansion`; at least one."""
    width = int(number(name, expansion, below=1e6) * dim + 1e-6)  # 1/49 · 49 is one, whatever floats say
    if width < 1:
        raise ModelError(f"{name}={expansion!r} leaves no hidden channel of {dim}", hint=f"give {name} at least {1 / dim:.3g}")
    return width


def check_divides(name: str, parts: int, total: int, what: str) -> None:
    """That `total`, which is `what` in words, can be cut into so many equal parts."""
    if total % parts:
        fits = [n for n in range(1, total + 1) if total % n == 0]
        near = min(fits, key=lambda n: abs(n - parts))
        raise ModelError(f"{name}={parts} does not divide {what}", hint=f"use {name}={near}")


def choice(name: str, value: object, known: Sequence[str]) -> str:
    """`value`, one of `known`."""
    if not isinstance(value, str) or value not in known:
        raise ModelError(f"{name}={value!r} is not known", hint=one_of(known, str(value)))
    return str(value)


def activation(act: object) -> str:
    """ "gelu" (exact) or "gelu_tanh"."""
    return choice("act", act, list(ACTIVATIONS))


def image_size(img_size: object, patch_size: int, *, patch: str = "the patch", why: str = "") -> tuple[int, int]:
    """(height, width) in pixels, each a positive multiple of the patch, from an int or a pair.

    patch: what has `patch_size` pixels a side, in words; why: what else to say of it.
    """
    pair = img_size if isinstance(img_size, Sequence) and not isinstance(img_size, str) else (img_size, img_size)
    if len(pair) != 2:
        raise ModelError(
            f"img_size={img_size!r} is neither an int nor (height, width)", hint="give img_size=224 or img_size=(224, 160)"
        )
    height, width = (whole("img_size", v) for v in pair)
    for side in (height, width):
        if side % patch_size:
            fits = f"{side - side % patch_size or patch_size} or {side - side % patch_size + patch_size}"
            raise ModelError(
                f"img_size={img_size!r} is not a multiple of {patch} of {patch_size} pixels{why}", hint=f"use {fits}"
            )
    return height, width


def both_axes(name: str, value: object, *, least: int = 0) -> tuple[int, int]:
    """(vertical, horizontal), from such a pair or one int for both."""
    pair = value if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    if len(pair) != 2:
        raise ModelError(f"{name}={value!r} is neither an int nor (vertical, horizontal)", hint=f"give {name}={least}, say")
    vertical, horizontal = (whole(name, v, least=least) for v in pair)
    return vertical, horizontal


def flag(name: str, value: object) -> bool:
    """`value`, True or False."""
    if not isinstance(value, bool):
        raise ModelError(f"{name}={value!r} is neither True nor False", hint=f"give {name} as True or False")
    return value
