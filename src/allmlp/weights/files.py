"""Tensors in and out of files. Nothing read here can execute code."""

import os
import pickle
import zipfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from allmlp.errors import WeightsError
from allmlp.files import whole_file

KINDS = (".safetensors", ".pth", ".pt", ".bin", ".th", ".npz")
"""Suffixes of the files that can be read."""
MOST_TENSORS = 20_000
"""In a .safetensors file: reading it takes time with the square of their number."""
SPARE, DENSEST = 2**26, 32
"""Bytes, and times a file's own bytes, that it may unpack to: zeros compress a thousandfold, weights hardly at all."""
SHOWN = 2**31
"""Bytes that tensors may come to which show the same few bytes again and again: they take memory when they are copied."""
_WRAPPERS = ("state_dict", "model", "model_ema", "net")
"""Keys under which training scripts keep the model's tensors."""


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Every tensor in a `.safetensors`, `.pth`, `.pt`, `.bin`, `.th` or `.npz` file, by name, on the CPU.

    Raises WeightsError for a file that is missing, damaged, of another kind, or needs code to load.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path} is not a file", hint="give the path of a .safetensors, .pth or .npz file")
    if path.suffix not in KINDS:
        raise WeightsError(f"{path.name} is of no known kind", hint=f"use {', '.join(KINDS)}")
    try:
        check_file(path)
        tensors = _read(path)
        _check_size(path, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()), SHOWN)
        return tensors
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path} holds more than tensors, and loading it would run code from the file",
            hint="ask its author for tensors alone (safetensors), or convert it where you trust it",
        ) from None
    except WeightsError:
        raise
    except Exception as error:  # readers of damaged files raise whatever they stumble over
        raise WeightsError(f"{path} cannot be read: {_first_line(error)}", hint="fetch or copy the file again") from None


def _read(path: Path) -> dict[str, Tensor]:
    """By the library of its kind, which raises whatever it stumbles over."""
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in arrays.files}
    with torch.serialization.safe_globals([Namespace]):  # training scripts keep their options in one: plain values
        return unwrap(torch.load(path, map_location="cpu", weights_only=True))


def check_file(path: Path) -> None:
    """Raises WeightsError for an archive that would unpack to far more than it is, and for more tensors than models have.

    Raises whatever the libraries do for a damaged file.
    """
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            count = len(file.keys())
        if count > MOST_TENSORS:
            raise WeightsError(f"{path} holds {count:,} tensors, more than any model", hint="give a model's checkpoint")
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_size(path, sum(member.file_size for member in archive.infolist()), SPARE)


def _check_size(path: Path, total: int, spare: int) -> None:
    """total: bytes that the file unpacks to. spare: what is fine for the smallest file."""
    if total > spare + DENSEST * path.stat().st_size:
        raise WeightsError(
            f"{path} would unpack {path.stat().st_size:,} bytes to {total:,}",
            hint="fetch the file again from where it is known",
        )


def unwrap(content: object) -> dict[str, Tensor]:
    """The flat state dict inside what a training script saved. Raises WeightsError when there is none."""
    for _ in range(3):
        inner = (
            next((content[k] for k in _WRAPPERS if isinstance(content.get(k), Mapping)), None)
            if isinstance(content, Mapping)
            else None
        )
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise WeightsError("the checkpoint holds no state dict", hint="save model.state_dict()")
    wrong = [str(k) for k, v in content.items() if not isinstance(v, Tensor)]
    if wrong:
        raise WeightsError(f"{', '.join(wrong[:5])} in the checkpoint are not tensors", hint="save model.state_dict() alone")
    return {str(k).removeprefix("module.").removeprefix("_orig_mod."): v for k, v in content.items()}


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a file, whole or not at all: safetensors, or what a suffix `.pth` or `.npz` says.

    metadata: words beside the tensors, which only safetensors can keep. Raises WeightsError for a suffix of another kind.
    """
    path = Path(path)
    plain = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with whole_file(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(plain, temporary, dict(metadata or {}))
        elif path.suffix == ".pth":
            torch.save(plain, temporary)
        elif path.suffix == ".npz":
            _write_arrays(temporary, plain)
        else:
            raise WeightsError(f"{path.name} is of no kind that is written", hint="use .safetensors, .pth or .npz")


def _write_arrays(path: Path, tensors: Mapping[str, Tensor]) -> None:
    try:
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    except TypeError as error:
        raise WeightsError(f"an .npz file cannot keep these tensors: {error}", hint="use .safetensors") from None
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # a tensor's name is no option of savez


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
