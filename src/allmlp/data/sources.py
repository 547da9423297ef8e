"""DATA on the command line → a Source."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from allmlp.data import fashion, hub, vision
from allmlp.data.addresses import is_address
from allmlp.data.damage import Failure
from allmlp.data.folder import open_folder
from allmlp.data.images import Images, Source
from allmlp.data.parquet import has_parquet, open_parquet
from allmlp.data.parts import Parts, assembled, labelled
from allmlp.data.shards import has_shards, is_shard, open_shards
from allmlp.data.split import few_shots, limited
from allmlp.data.tar import is_tar, open_tar
from allmlp.errors import DataError, one_of

NAMED = ("fashion-mnist",)
PREFIXES: dict[str, Callable[..., Parts]] = {hub.PREFIX: hub.open_hub, vision.PREFIX: vision.open_vision}


def open_source(
    spec: str | None,
    *,
    val_share: float,
    seed: int,
    limit: int | None = None,
    shots: int | None = None,
    least: int = 2,
    quiet: bool = False,
) -> Source:
    """spec: None (the embedded subset), or what `open_parts` knows. limit: at most so many training images;
    shots: at most so many of each class. least: classes.

    Raises DataError when there is nothing to train on.
    """
    source = fashion.embedded() if spec is None else assembled(open_parts(spec, quiet=quiet), val_share, seed, least)
    if shots is not None:
        source = replace(source, train=source.train.subset(few_shots(source.train.labels, len(source.classes), shots, seed)))
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
    """A folder of class folders, a tar archive of one, shards, parquet files, or a data set known by name.

    What lies at the path comes first: a folder may be called fashion-mnist. Raises DataError for anything else.
    """
    path = Path(spec).expanduser()
    if is_address(spec) or ("{" in spec and not path.exists()):
        return open_shards(spec, quiet=quiet)
    if path.exists():
        return _opener(path)(path, quiet=quiet)
    for prefix, opener in PREFIXES.items():
        if spec.startswith(prefix):
            return opener(spec, quiet=quiet)
    if spec in NAMED:
        return fashion.whole()
    raise DataError(f"{spec} is neither a folder nor a data set known by name", hint=_hint(spec))


def _opener(path: Path) -> Callable[..., Parts]:
    """By what a path holds."""
    if path.is_dir():
        kinds: dict[Callable[[Path], bool], Callable[..., Parts]] = {has_shards: open_shards, has_parquet: open_parquet}
        return next((opener for holds, opener in kinds.items() if holds(path)), open_folder)
    if path.suffix == ".parquet":
        return open_parquet
    if is_tar(path):
        return open_shards if path.suffix == ".tar" and is_shard(path) else open_tar
    raise DataError(
        f"{path} is not a folder, nor a file of images",
        hint="give a folder that has one folder of images per class, a .tar of it, or a .parquet file",
    )


def located(spec: str) -> str:
    """The same data from any working directory: local paths and patterns become absolute."""
    path = Path(spec).expanduser()
    if path.exists() or ("{" in spec and not is_address(spec)):
        return str(path.resolve())
    name, at, folder = spec.partition("@")
    return f"{name}@{Path(folder).expanduser().resolve()}" if at and spec.startswith(vision.PREFIX) else spec


def fetches(spec: str | None) -> bool:
    """Whether opening it may copy, unpack or fetch what then lies ready, so that of several processes one goes first."""
    if spec is None:
        return False
    path = Path(spec).expanduser()
    return not path.is_dir() or has_parquet(path)


def _hint(spec: str) -> str:
    hint = one_of(NAMED, spec)
    others = f"{', '.join(NAMED)}, torchvision:NAME, hf:NAME, or nothing"
    return hint if hint.startswith("did") else f"give a folder of class folders, one of {others}"
