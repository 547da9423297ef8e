"""Files as an attacker would make them: names and contents; `canary` is a path that must never come to be."""

import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

Made = Iterator[tuple[str, bytes]]
GIGA = 10**9


class Code:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


class Shell(Code):
    """The same through a shell."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch '{self.canary}'",)


def pickles(canary: Path, state: Mapping[str, torch.Tensor]) -> Made:
    """Code where weights should be, in every form that torch.load has ever read."""
    for code in (Code(canary), Shell(canary)):
        kind = type(code).__name__.lower()
        for form, content in (
            ("alone", code),
            ("beside", {"model": dict(state), "args": code}),
            ("within", {**state, "epoch": [code]}),
        ):
            yield f"{kind}-{form}.pth", _saved(content)
            yield f"{kind}-{form}.pt", _saved(content, zipped=False)
            yield f"{kind}-{form}.bin", pickle.dumps(content)
    from argparse import Namespace

    yield "namespace.pth", _saved({"model": dict(state), "args": Namespace(lr=1, hook=Code(canary))})
    yield (
        "older-tar.pth",
        _tar(
            {
                "pickle": pickle.dumps(Code(canary), 2),
                "sys_info": pickle.dumps({}),
                "storages": pickle.dumps(1),
                "tensors": pickle.dumps(1),
            }
        ),
    )
    yield "protocol-0.pth", b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    yield "extension.pth", b"\x82\x01."
    yield "deep.pth", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."


def zips(canary: Path, state: Mapping[str, torch.Tensor]) -> Made:
    """Archives of torch's that lie, and such as unpack to far more than they are."""
    from torch import nn

    wide = torch.zeros(1).as_strided((10**6, 10**6), (0, 0))
    yield "stretched.pth", _saved({**state, next(iter(state)): wide})
    yield "stretched-alone.pth", _saved({"a": wide})
    yield "compressed.pth", _squeezed(_saved({"a": torch.zeros(2**28, dtype=torch.int8)}))
    script = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        torch.jit.save(torch.jit.script(nn.Linear(1, 1)), script)
    yield "script.pt", script.getvalue()
    yield "other.pth", _zip({"../../escaped": b"x", "archive/data.pkl": pickle.dumps(Code(canary))})


def lying_safetensors() -> Made:
    def file(header: Any, body: bytes = b"\0" * 64, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    def one(shape: Any = (4, 4), span: Any = (0, 64), dtype: Any = "F32") -> dict[str, Any]:
        return {"a": {"dtype": dtype, "shape": shape, "data_offsets": span}}

    yield "length-2-63.safetensors", file(one(), length=2**63)
    yield "length-all.safetensors", file(one(), length=2**64 - 1)
    yield "length-1gb.safetensors", file(one(), length=GIGA)
    yield "overlapping.safetensors", file({**one(), "b": {"dtype": "F32", "shape": (4, 4), "data_offsets": (0, 64)}})
    yield "hole.safetensors", file({**one((2,), (0, 8)), "b": {"dtype": "F32", "shape": (2,), "data_offsets": (56, 64)}})
    yield "negative.safetensors", file(one(span=(-64, 0)))
    yield "backwards.safetensors", file(one(span=(64, 0)))
    yield "beyond.safetensors", file(one((400, 4), (0, 6400)))
    yield "shape-lies.safetensors", file(one((1000, 1000)))
    yield "shape-negative.safetensors", file(one((-4, -4)))
    yield "shape-overflows.safetensors", file(one((2**32, 2**32)))
    yield "shape-empty.safetensors", file(one((2**40, 0), (0, 0)), b"")
    yield "dtype.safetensors", file(one(dtype="__import__('os')"))
    yield "text-shape.safetensors", file(one(("4", "4")))
    yield "deep.safetensors", file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
    yield "giant.safetensors", file(b'{"' + b"a" * 50_000_000 + b'":1}')
    yield (
        "many.safetensors",
        file({f"n{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(300_000)}, b""),
    )
    yield "metadata.safetensors", file({"__metadata__": {"a": [1]}, **one()})
    yield "no-dict.safetensors", file([1, 2])
    yield "pickle.safetensors", pickle.dumps(1)
    yield "name.safetensors", file({"\n\x1b[2J" + "name" * 10_000: {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]}})


def lying_npz(canary: Path) -> Made:
    yield "objects.npz", _npz({"a.npy": _npy_of(np.array([Code(canary)], dtype=object))})
    yield "objects-shell.npz", _npz({"a.npy": _npy_of(np.array([Shell(canary)], dtype=object))})
    yield "huge.npz", _npz({"a.npy": _npy("(1000000000000,)")})
    yield "overflow.npz", _npz({"a.npy": _npy("(4294967296, 4294967296, 4294967296)")})
    yield "negative.npz", _npz({"a.npy": _npy("(-4, -4)")})
    yield "code-in-header.npz", _npz({"a.npy": _npy(f"__import__('pathlib').Path({str(canary)!r}).touch()")})
    yield "deep-header.npz", _npz({"a.npy": _npy("(" * 5000 + ")" * 5000)})
    yield "long-header.npz", _npz({"a.npy": _npy("(" + "1," * 1_000_000 + ")")})
    yield "bomb.npz", _npz({"a.npy": _npy("(500000000,)") + bytes(2 * GIGA)}, squeeze=True)
    yield "many-bombs.npz", _npz({f"{i}.npy": _npy("(50000000,)") + bytes(GIGA // 5) for i in range(10)}, squeeze=True)
    yield "climbing.npz", _npz({"../../../escaped.npy": _npy("(4,)") + bytes(16), "/tmp/escaped.npy": _npy("(4,)") + bytes(16)})
    yield "not-arrays.npz", _npz({"a": b"hello", "b.npy": b"hello"})
    yield "an-array.npz", _npy("(4,)") + bytes(16)
    yield "a-pickle.npz", pickle.dumps(Code(canary))


def _npy(shape: str, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header


def _npy_of(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _npz(members: Mapping[str, bytes], *, squeeze: bool = False) -> bytes:
    return _zip(members, zipfile.ZIP_DEFLATED if squeeze else zipfile.ZIP_STORED)


def _zip(members: Mapping[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def _squeezed(content: bytes) -> bytes:
    """torch's archive with compressed members."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return _zip({name: archive.read(name) for name in archive.namelist()}, zipfile.ZIP_DEFLATED)


def _saved(content: Any, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def _tar(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def cards(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Descriptions beside good weights that lie, or are not the JSON they seem."""

    def preparing(**values: Any) -> str:
        return json.dumps({**card, "preprocessing": {**card["preprocessing"], **values}})

    def built(**values: Any) -> str:
        return json.dumps({**card, "hyperparameters": {**card["hyperparameters"], **values}})

    for value in (0, -1, 1e-9, 7, "x", None, [], float("inf"), float("nan")):
        yield f"crop-{value}", preparing(crop_ratio=value)
    for value in ("abc", [1], [], {}, None, ["a", "b", "c"], [[1], [2], [3]], [float("nan")] * 3, [1e400] * 3, [True] * 3):
        yield f"mean-{value}", preparing(mean=value)
    yield "std-0", preparing(std=[0, 0, 0])
    for value in ("x", 3, [], {}, "__import__('os')"):
        yield f"interpolation-{value}", preparing(interpolation=value)
        yield f"crop-mode-{value}", preparing(crop_mode=value)
    for value in ("88", 8, [8, 8, 8], [10**6, 10**6], [-8, -8], [True, True]):
        yield f"img-size-{value}", preparing(img_size=value)
    for value in (0, -1, 1, 7, 10**6, "3", True):
        yield f"in-chans-{value}", preparing(in_chans=value)
    for value in (10**6, 10**30, -1, "x", None, [3], True):
        yield f"depth-{value}", built(depth=value)
        yield f"dim-{value}", built(dim=value)
        yield f"patch-{value}", built(patch_size=value)
    yield "layer-scale", built(layer_scale="x")
    yield "unknown", built(self=3, __class__="os.system")
    yield "sides", json.dumps({**card, "hyperparameters": {**card["hyperparameters"], "img_size": [10**6, 10**6]}})
    yield "name", json.dumps({**card, "name": "__import__"})
    yield "name-path", json.dumps({**card, "name": "../../../etc/passwd"})
    yield "classes", json.dumps({**card, "classes": [str(i) for i in range(10**6)]})
    yield "format", json.dumps({**card, "format": 10**6})
    yield "list", "[]"
    yield "deep-list", "[" * 10_000 + "]" * 10_000
    yield "deep-table", '{"a":' * 10_000 + "1" + "}" * 10_000
    yield "digits", '{"format": ' + "9" * 10_000 + "}"
    yield "long", '{"name": "' + "a" * 100_000_000 + '"}'
    yield "longest", '{"name": "' + "a" * 300_000_000 + '"}'


def recipes() -> Iterator[tuple[str, str]]:
    """TOML that is no recipe."""
    yield "long", 'model = "' + "a" * 100_000_000 + '"\n'
    yield "many-lines", "a = 1\n" * 150_000
    yield "deep-list", "a = " + "[" * 10_000 + "]" * 10_000
    yield "deep-table", "a = " + "{b = " * 10_000 + "1" + "}" * 10_000
    yield "deep-name", "[" + "a." * 10_000 + "a]\n"
    yield "digits", "[train]\nepochs = " + "9" * 10_000
    yield "huge", "[train]\nepochs = " + "9" * 300
    yield "zeros", "\0" * 1000
    yield "escapes", 'model = "\\u001b[2J\\u001b[31m"\n'
    yield "path", 'init = "../../../../etc/passwd"\n'
    yield "code", "model = \"__import__('os').system('id')\"\n"


def tars(canary: Path, pictures: Mapping[str, bytes]) -> Made:
    """Archives of good pictures, with members among them that point elsewhere; `canary` is outside of where they are read."""

    def member(name: str, kind: bytes = tarfile.REGTYPE, to: str = "") -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, to
        return info

    hostile = {
        "climbing": [
            member("../../../" + canary.name),
            member("a/../../../" + canary.name),
            member("a/./../" + canary.name + ".png"),
        ],
        "absolute": [member(str(canary)), member("//" + str(canary))],
        "links": [member("a/x.png", tarfile.SYMTYPE, "/etc/passwd"), member("a/y.png", tarfile.LNKTYPE, "/etc/passwd")],
        "link-then-file": [member("a/out", tarfile.SYMTYPE, str(canary.parent)), member(f"a/out/{canary.name}")],
        "devices": [
            member("a/d.png", tarfile.CHRTYPE),
            member("a/b.png", tarfile.BLKTYPE),
            member("a/f.png", tarfile.FIFOTYPE),
        ],
        "names": [
            member("a/" + "x" * 5000 + ".png"),
            member("a/\x1b[2J.png"),
            member("a\\..\\..\\x.png"),
            member("/".join("d" * 3000) + "/x.png"),
        ],
        "twice": [member("a"), member("a/0.png/b.png"), member("b/0.png")],
    }
    for name, members in hostile.items():
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for info in members:
                archive.addfile(info)
            for place, content in pictures.items():
                info = member(place)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        yield f"{name}.tar", file.getvalue()
    yield "sparse.tar", _lying_tar(pictures, b"0" * 11, tarfile.GNUTYPE_SPARSE)
    yield "huge.tar", _lying_tar(pictures, b"77777777777", tarfile.REGTYPE)
    yield "negative.tar", _lying_tar(pictures, b"\xff" * 11, tarfile.REGTYPE)


def _lying_tar(pictures: Mapping[str, bytes], size: bytes, kind: bytes) -> bytes:
    """The first header says another size."""
    content = bytearray(_tar(pictures))
    content[124:135], content[156:157] = size, kind
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)
