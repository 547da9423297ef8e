"""Triton kernels: in Triton's interpreter and through its compiler on any machine, and as they are where there is a GPU."""

# axes: b images, n tokens in, m tokens out, c channels, i inputs, o outputs

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from allmlp.engine.gpu import plain
from allmlp.engine.gpu.kit import has_triton, kernels
from allmlp.engine.gpu.layout import aligned

HERE = Path(__file__).parent
OFF = {"float32": 1e-6, "float16": 1e-3, "bfloat16": 6e-3, "plans": 2e-6}
"""Relative to all numbers. The interpreter cuts bfloat16 off, which is twice as coarse as rounding."""

needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed here")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available() or not has_triton(), reason="no GPU with Triton here")


@pytest.fixture(scope="module")
def interpreted() -> dict[str, dict[str, float]]:
    """Kind of numbers → what was computed → how far it is from float64."""
    words = {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE.parent), *sys.path])}
    command = [sys.executable, str(HERE / "interpreted.py")]
    done = subprocess.run(command, env={**os.environ, **words}, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_triton
@pytest.mark.parametrize("operation", ["mix", "linear_gelu", "add_linear"])
@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_kernels_with_products_compute_what_torch_does_in_float64(
    interpreted: dict[str, dict[str, float]], operation: str, kind: str
) -> None:
    found = {about: off for about, off in interpreted[kind].items() if about.startswith(operation)}
    assert len(found) >= 3
    assert max(found.values()) < OFF[kind], found


@needs_triton
@pytest.mark.parametrize("operation", ["stats", "norm"])
@pytest.mark.parametrize("kind", ["float32", "bfloat16"])
def test_kernels_of_rows_compute_what_torch_does_in_float64(
    interpreted: dict[str, dict[str, float]], operation: str, kind: str
) -> None:
    found = {about: off for about, off in interpreted[kind].items() if about.startswith(operation)}
    assert len(found) >= 3
    assert max(found.values()) < OFF[kind], found


@needs_triton
def test_models_made_of_kernels_alone_answer_as_models_do(interpreted: dict[str, dict[str, float]]) -> None:
    assert set(interpreted["plans"]) == {"plan resmlp_s12", "plan mixer_b16"}
    assert max(interpreted["plans"].values()) < OFF["plans"], interpreted["plans"]


def compiled(kernel: Any, tile: Any, *, architecture: int, constants: dict[str, Any]) -> Any:
    """Machine code for a GPU that need not be there, for tensors as plans have them: each row begins where a word does."""
    from triton import compile as translate
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    constants |= {"ROWS": tile.rows, "COLUMNS": tile.columns, "INNER": tile.inner}
    names = [parameter.name for parameter in kernel.params]
    kinds = dict.fromkeys(["scale", "mean", "rstd"], "*fp32") | dict.fromkeys(["n", "m", "c", "r", "i", "o"], "i32")
    kinds |= dict.fromkeys(["width", "bias_row", "bias_column"], "i32")
    source = ASTSource(
        fn=kernel,
        signature={name: "constexpr" if name in constants else kinds.get(name, "*bf16") for name in names},
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(names) if name not in {*constants, "n", "m"}},
    )
    return translate(source, target=GPUTarget("cuda", architecture, 32), options=tile.started)


MIX = {"APPROXIMATE": None, "mean": None, "rstd": None, "bias_column": 1}
LINEAR = {"APPROXIMATE": "none", "residual": None, "GROUP": 8}
ROOM = {80: 163 * 1024, 90: 227 * 1024}
"""Bytes of fast memory that a program may have on an A100 and an H100."""


def check_code(name: str, number: int, architecture: int) -> None:
    from allmlp.engine.kernels import linear, tokens

    kernel, constants, tiles = {
        "mix": (tokens.mix_kernel, MIX, tokens.TILES),
        "linear": (linear.linear_kernel, LINEAR, linear.TILES),
    }[name]
    made = compiled(kernel, tiles[number], architecture=architecture, constants=dict(constants))
    code = made.asm["ptx"]
    assert made.metadata.shared <= ROOM[architecture]
    assert "cp.async.cg.shared.global" in code  # 16 bytes at a time, while the ones before are multiplied
    assert "st.global.v4" in code
    assert ".local" not in code  # nothing is spilt from registers
    assert ("wgmma.mma_async" in code) == (architecture == 90 and tiles[number].rows >= 64)


@needs_triton
@pytest.mark.parametrize("architecture", ROOM)
@pytest.mark.parametrize("name", ["mix", "linear"])
def test_kernels_compile_for_gpus_that_are_not_here(name: str, architecture: int) -> None:
    check_code(name, 0, architecture)


@needs_triton
@pytest.mark.slow
@pytest.mark.parametrize("architecture", ROOM)
@pytest.mark.parametrize(("name", "number"), [("mix", n) for n in range(1, 6)] + [("linear", n) for n in range(1, 7)])
def test_every_tile_compiles_and_fits(name: str, number: int, architecture: int) -> None:
    check_code(name, number, architecture)


def test_aligned_matrices_have_the_same_values_in_rows_that_begin_with_a_word() -> None:
    matrix = torch.randn(5, 49)
    laid_out = aligned(matrix, torch.float32)
    assert torch.equal(laid_out, matrix)
    assert laid_out.stride() == (64, 1)
    assert laid_out.untyped_storage().nbytes() == 5 * 64 * 4
    assert torch.equal(laid_out.as_strided((5, 64), (64, 1))[:, 49:], torch.zeros(5, 15))


def on_gpu(name: str, dtype: torch.dtype) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What an operation is given, at sizes that no tile divides."""
    generator = torch.Generator("cuda").manual_seed(0)

    def random(*shape: int, kind: torch.dtype = dtype) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cuda").to(kind)

    b, n, c, o = 3, 196, 72, 100
    x, wide = random(b, n, c), torch.float32
    return {
        "mix": ((x, aligned(random(n, n) / 14, dtype)), dict(scale=random(c, kind=wide), bias=random(n, c), residual=x)),
        "stats": ((x, 1e-6), {}),
        "norm": ((x, random(c), 1e-6), {}),
        "linear_gelu": ((x, random(o, c) / 9, random(o)), {}),
        "add_linear": ((x, random(b, n, o), random(c, o) / 10), {}),
    }[name]


@needs_gpu
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("name", ["mix", "stats", "norm", "linear_gelu", "add_linear"])
def test_on_a_gpu_every_kernel_computes_what_torch_does_in_float64(name: str, dtype: torch.dtype, allowed: float) -> None:
    given, words = on_gpu(name, dtype)
    right: Callable[..., Any] = getattr(plain, name)
    due = right(*map(exact, given), **{key: exact(value) for key, value in words.items()})
    worked = 0
    for kernel in kernels()[name]:
        try:
            got = kernel(*given, **words)
        except Exception as error:
            if "out of resource" not in str(error):  # a tile that this GPU has no room for
                raise
            continue
        worked += 1
        for g, d in zip(*((t,) if isinstance(t, Tensor) else t for t in (got, due)), strict=True):
            assert float((g.double() - d).norm() / d.norm()) < allowed
    assert worked


def exact(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) else value
