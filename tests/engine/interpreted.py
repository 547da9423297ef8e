"""The Triton kernels in Triton's interpreter, which needs no GPU, against torch in float64: prints how far each is off.

Run with TRITON_INTERPRET=1, which must be there before a kernel is imported and holds for a whole process: test_kernels.py
starts this file in one of its own.
"""

# axes: b images, n tokens in, m tokens out, c channels, i inputs, o outputs

import json
from collections.abc import Callable

import torch
from torch import Tensor

from allmlp.engine.gpu import plain
from allmlp.engine.gpu.find import make_gpu_plan
from allmlp.engine.gpu.kit import Kit
from allmlp.engine.gpu.layout import aligned
from allmlp.engine.kernels import linear, rows, tokens
from allmlp.engine.kernels.tile import Tile
from contract import awake, build, images

BIG, SMALL, FLAT = Tile(64, 32, 32, 4), Tile(16, 16, 16, 4), Tile(128, 16, 64, 4)
GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR).to(dtype)


def exact(value: object) -> object:
    """The same in float64."""
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    return value.double() if isinstance(value, Tensor) else value


def off(kernel: Callable[..., Tensor], reference: Callable[..., Tensor], *given: object, **words: object) -> float:
    tile = {"tile": words.pop("tile")} if "tile" in words else {}
    due = reference(*map(exact, given), **{name: exact(value) for name, value in words.items()})
    got = kernel(*given, **words, **tile)
    return float((got.double() - due).norm() / due.norm()) if got.shape == due.shape else float("inf")


def mixes(dtype: torch.dtype) -> dict[str, float]:
    found = {}
    for b, n, m, c, tile in ((1, 196, 196, 40, BIG), (2, 49, 30, 33, SMALL), (3, 7, 9, 20, FLAT)):
        x, matrix = random(b, n, c, dtype=dtype), random(m, n, dtype=dtype) / n**0.5
        words = dict(scale=random(c), bias=random(m, c, dtype=dtype), residual=random(b, m, c, dtype=dtype))
        about = f"mix {b} {n} {m} {c} "
        found[about + "resmlp"] = off(tokens.mix, plain.mix, x, matrix, **words, tile=tile)
        found[about + "aligned"] = off(tokens.mix, plain.mix, x, aligned(matrix, dtype), tile=tile)
        words["bias"] = words["bias"][0].expand(m, c)
        del words["scale"]
        found[about + "mixer leaves"] = off(tokens.mix, plain.mix, x, aligned(matrix, dtype), **words, tile=tile)
        stats = plain.stats(x, 1e-6)
        for approximate in ("none", "tanh"):
            enter = dict(scale=random(c), bias=random(m, c, dtype=dtype), stats=stats, approximate=approximate)
            found[about + f"mixer enters {approximate}"] = off(tokens.mix, plain.mix, x, matrix, **enter, tile=tile)
    return found


def linears(dtype: torch.dtype) -> dict[str, float]:
    found = {}
    for b, n, i, o, tile in ((1, 196, 40, 70, BIG), (1, 7, 33, 9, SMALL), (3, 49, 20, 100, FLAT)):
        x, weight, bias, total = (random(*s, dtype=dtype) for s in ((b, n, i), (o, i), (o,), (b, n, o)))
        for approximate in ("none", "tanh"):
            words = dict(approximate=approximate, tile=tile)
            found[f"linear_gelu {n} {i} {o} {approximate}"] = off(
                linear.linear_gelu, plain.linear_gelu, x, weight, bias, **words
            )
        found[f"add_linear {n} {i} {o}"] = off(linear.add_linear, plain.add_linear, total, x, weight, tile=tile)
    return found


def norms(dtype: torch.dtype) -> dict[str, float]:
    found = {}
    for b, n, c in ((2, 7, 40), (1, 49, 33), (3, 5, 768)):
        x, shift = 3 + random(b, n, c, dtype=dtype), random(c, dtype=dtype)
        found[f"norm {b} {n} {c}"] = off(rows.norm, plain.norm, x, shift, 1e-6)
        for which, name in enumerate(("mean", "rstd")):
            found[f"stats {name} {b} {n} {c}"] = off(
                lambda x, eps, w=which: rows.stats(x, eps)[w], lambda x, eps, w=which: plain.stats(x, eps)[w], x, 1e-6
            )
    return found


def plans() -> dict[str, float]:
    """Whole models, every operation a kernel."""
    tile = dict(tile=SMALL)
    kit = Kit(
        mix=lambda *a, **k: tokens.mix(*a, **k, **tile),
        stats=rows.stats,
        norm=rows.norm,
        linear_gelu=lambda *a, **k: linear.linear_gelu(*a, **k, **tile),
        add_linear=lambda *a, **k: linear.add_linear(*a, **k, **tile),
    )
    found = {}
    for name in ("resmlp_s12", "mixer_b16"):
        model = awake(build(name)).eval()
        given = images(model, 2)
        with torch.inference_mode():
            due, got = model(given), make_gpu_plan(model, torch.device("cpu"), torch.float32, kit)(given)
        found[f"plan {name}"] = float((got - due).norm() / due.norm())
    return found


if __name__ == "__main__":
    found = {
        "float32": {**mixes(torch.float32), **linears(torch.float32), **norms(torch.float32)},
        "float16": {**mixes(torch.float16), **linears(torch.float16)},  # the interpreter has no products in bfloat16
        "bfloat16": norms(torch.bfloat16),
        "plans": plans(),
    }
    print(json.dumps(found))
