"""The operations of a Core ML package, read back from the file and computed by torch.

Core ML itself runs on macOS alone. This follows coremltools' definitions of the operations its converter wrote, so that a
wrong conversion shows anywhere; what Core ML's own kernels round otherwise does not.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from allmlp.engine.backends.base import Runner

Given = dict[str, Any]
"""An operation's inputs by name: tensors, or numbers and words as Python has them. `shape` is that of its output."""
DTYPES = {"fp16": torch.float16, "fp32": torch.float32}


def interpreter(path: Path, name: str) -> Runner:
    """The package's function, of the input of this name, in fp16 where the file says so.

    Raises ValueError for operations that are not in OPERATIONS.
    """
    import coremltools
    from coremltools.converters.mil.frontend.milproto.load import load

    package = coremltools.models.MLModel(str(path), skip_model_load=True)
    spec = package.get_spec()
    function = load(spec, spec.specificationVersion, package.weights_dir).functions["main"]
    steps = [op for op in function.operations if op.op_type != "const"]
    unknown = {op.op_type for op in steps} - OPERATIONS.keys()
    if unknown:
        raise ValueError(f"the file has operations that cannot be computed here: {', '.join(sorted(unknown))}")
    fixed = {id(op): {key: _constant(var) for key, var in op.inputs.items()} for op in steps}

    def run(images: Tensor) -> Tensor:
        values: dict[str, Tensor] = {name: images}
        with torch.inference_mode():
            for op in steps:
                given = {key: _value(value, values) for key, value in fixed[id(op)].items()}
                made = OPERATIONS[op.op_type]({**given, "shape": op.outputs[0].shape})
                made = made if isinstance(made, tuple) else (made,)
                values |= {var.name: value for var, value in zip(op.outputs, made, strict=True)}
        return values[function.outputs[0].name].float()

    return run


class _Name(str):
    """Of a value that an operation before this one makes."""


def _constant(var: Any) -> Any:
    """Weights as tensors, attributes as Python values; the name of what is not known before it runs."""
    if isinstance(var, list | tuple):
        return [_constant(each) for each in var]
    if var.val is None:
        return _Name(var.name)
    value = var.val
    if getattr(value, "dtype", None) is not None and value.dtype.kind == "f" and value.ndim:
        return torch.from_numpy(value.copy())
    return value.tolist() if hasattr(value, "tolist") else value


def _value(value: Any, values: dict[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_value(each, values) for each in value]
    return values[value] if isinstance(value, _Name) else value


def _conv(given: Given) -> Tensor:
    x = _padded(given, 0.0)
    return F.conv2d(
        x, given["weight"], given.get("bias"), given["strides"], dilation=given["dilations"], groups=given["groups"]
    )


def _max_pool(given: Given) -> Tensor:
    if given["ceil_mode"]:
        raise ValueError("max_pool that rounds up cannot be computed here")
    return F.max_pool2d(_padded(given, float("-inf")), given["kernel_sizes"], given["strides"])


def _padded(given: Given, value: float) -> Tensor:  # b c h w
    """By `pad`, which counts top, bottom, left, right."""
    if given["pad_type"] == "valid":
        return given["x"]
    if given["pad_type"] != "custom":
        raise ValueError(f"padding {given['pad_type']} cannot be computed here")
    top, bottom, left, right = given["pad"]
    return F.pad(given["x"], (left, right, top, bottom), value=value)


def _pad(given: Given) -> Tensor:
    """Counted from the first axis on; torch counts from the last."""
    if given["mode"] != "constant":
        raise ValueError(f"pad by {given['mode']} cannot be computed here")
    pairs = list(zip(given["pad"][::2], given["pad"][1::2], strict=True))
    return F.pad(given["x"], [count for pair in reversed(pairs) for count in pair], value=given["constant_val"])


def _slice(given: Given) -> Tensor:
    """begin:end:stride on every axis; masked ends are open, squeezed axes go."""
    x = given["x"]
    off = [False] * x.ndim
    begin_mask, end_mask, squeeze = (given.get(f"{word}_mask") or off for word in ("begin", "end", "squeeze"))
    stride = given.get("stride") or [1] * x.ndim
    places: list[Any] = []
    for axis in range(x.ndim):
        first, last = given["begin"][axis], given["end"][axis]
        if squeeze[axis]:
            places.append(first)
        else:
            places.append(slice(None if begin_mask[axis] else first, None if end_mask[axis] else last, stride[axis]))
    return x[tuple(places)]


def _split(given: Given) -> tuple[Tensor, ...]:
    x, axis = given["x"], given["axis"]
    sizes = given.get("split_sizes") or [x.shape[axis] // given["num_splits"]] * given["num_splits"]
    return x.split(sizes, axis)


def _gelu(given: Given) -> Tensor:
    approximate = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[given["mode"]]
    return F.gelu(given["x"], approximate=approximate)


def _layer_norm(given: Given) -> Tensor:
    x, axes = given["x"], [axis % given["x"].ndim for axis in given["axes"]]
    if axes != list(range(x.ndim - len(axes), x.ndim)):
        raise ValueError(f"layer_norm over axes {axes} of {x.ndim} cannot be computed here")
    shape = [x.shape[axis] for axis in axes]
    return F.layer_norm(x, shape, given.get("gamma"), given.get("beta"), given["epsilon"])


def _batch_norm(given: Given) -> Tensor:
    gamma, beta = given.get("gamma"), given.get("beta")
    return F.batch_norm(given["x"], given["mean"], given["variance"], gamma, beta, eps=given["epsilon"])


def _matmul(given: Given) -> Tensor:
    x, y = (given[key].mT if given[f"transpose_{key}"] else given[key] for key in ("x", "y"))
    return x @ y


OPERATIONS: dict[str, Callable[[Given], Tensor | tuple[Tensor, ...]]] = {
    "add": lambda given: given["x"] + given["y"],
    "sub": lambda given: given["x"] - given["y"],
    "mul": lambda given: given["x"] * given["y"],
    "real_div": lambda given: given["x"] / given["y"],
    "square": lambda given: given["x"] * given["x"],
    "sqrt": lambda given: given["x"].sqrt(),
    "relu": lambda given: given["x"].relu(),
    "sigmoid": lambda given: given["x"].sigmoid(),
    "softmax": lambda given: given["x"].softmax(given["axis"]),
    "gelu": _gelu,
    "cast": lambda given: given["x"].to(DTYPES[given["dtype"]]),
    "linear": lambda given: F.linear(given["x"], given["weight"], given.get("bias")),
    "matmul": _matmul,
    "conv": _conv,
    "max_pool": _max_pool,
    "pad": _pad,
    "reshape": lambda given: given["x"].reshape(given["shape"]),
    "expand_dims": lambda given: given["x"].reshape(given["shape"]),
    "squeeze": lambda given: given["x"].reshape(given["shape"]),
    "transpose": lambda given: given["x"].permute(given["perm"]),
    "concat": lambda given: torch.cat(given["values"], given["axis"]),
    "split": _split,
    "slice_by_index": _slice,
    "reduce_mean": lambda given: given["x"].mean(given["axes"], given["keep_dims"]),
    "reduce_sum": lambda given: given["x"].sum(given["axes"], given["keep_dims"]),
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
}
"""Those that the architectures here are converted to."""
