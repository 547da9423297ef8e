"""GELU inside a kernel."""

import triton
import triton.language as tl


@triton.jit
def gelu(x, APPROXIMATE: tl.constexpr):  # float32
    """As torch's of that name: "none" by the error function, "tanh" by tanh(u) = 2 sigmoid(2u) - 1."""
    if APPROXIMATE == "tanh":
        kept = tl.sigmoid(1.5957691216057308 * (x + 0.044715 * x * x * x))  # 2 √(2/π)
    else:
        kept = 0.5 * (1 + tl.erf(x * 0.7071067811865476))
    return x * kept
