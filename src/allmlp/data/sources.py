"""DATA on the command line → a Source."""

import os
from dataclasses import replace
from pathlib import Path

from allmlp.data import fashion
from allmlp.data.damage import Failure
from allmlp.data.folder import open_folder
from allmlp.data.images import Images, Source
from allmlp.data.parts import Parts, assembled, labelled
from allmlp.data.remote import is_address
from allmlp.data.shards import has_shards, is_shard, open_shards
from allmlp.data.split import limited
from allmlp.data.tar import is_tar, open_tar
from allmlp.errors import DataError, one_of

NAMED = ("fashion-mnist",)


def open_source(spec: str | None, *, val_share: float, seed: int, limit: int | None = None, quiet: bool = False) -> Source:
    """spec: None (the embedded subset), or what `open_parts` knows. limit: at most so many training images.

    Raises DataError when there is nothing to train on.
    """
    source = fashion.embedded() if spec is None else assembled(open_parts(spec, quiet=quiet), val_share, seed)
    if limit is not None:
        chosen = limited(source.train.labels, len(source.classes), limit, seed)
        source = replace(source, train=source.train.subset(chosen))
    return source


def open_labelled(
    spec: str | os.PathLike[str], classes: tuple[str, ...], *, quiet: bool = False
) -> tuple[Images, list[Failure]]:
    """The images to judge a model with these classes on: the test part, else the validation part, else all of them.

    Returns (images, left out). Raises DataError for classes the model does not know.
    """
    return labelled(open_parts(os.fspath(spec), quiet=quiet), classes)


def open_parts(spec: str, *, quiet: bool = False) -> Parts:
    """A folder, a tar archive, or a data set known by name. Raises DataError for anything else."""
    path = Path(spec).expanduser()
    if spec in NAMED and not path.is_dir():
        return fashion.whole()
    if is_address(spec) or (not path.exists() and "{" in spec) or (path.is_dir() and has_shards(path)):
        return open_shards(spec, quiet=quiet)
    if path.is_dir():
        return open_folder(path, quiet=quiet)
    if path.is_file() and path.suffix == ".tar" and is_shard(path):
        return open_shards(spec, quiet=quiet)
    if path.is_file() and is_tar(path):
        return open_tar(path, quiet=quiet)
    if path.is_file():
        raise DataError(
            f"{spec} is not a folder", mend="give a folder that has one folder of images per class, or a .tar of it"
        )
    raise DataError(f"{spec} is neither a folder nor a data set known by name", mend=_mend(spec))


def located(spec: str) -> str:
    """The same data from any working directory: local paths and patterns become absolute."""
    if is_address(spec) or spec.startswith("hf:") or (spec in NAMED and not Path(spec).is_dir()):
        return spec
    path = Path(spec).expanduser()
    return str(path.resolve()) if path.exists() or "{" in spec else spec


def _mend(spec: str) -> str:
    hint = one_of(NAMED, spec)
    return hint if hint.startswith("did") else f"give a folder of class folders, one of {', '.join(NAMED)}, or nothing"
