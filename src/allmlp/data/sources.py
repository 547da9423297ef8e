"""DATA on the command line → a Source."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from allmlp.data import fashion, hub, vision
from allmlp.data.addresses import is_address
from allmlp.data.archive import kind_of, open_archive
from allmlp.data.assemble import assembled
from allmlp.data.damage import Failure
from allmlp.data.folder import Folder, open_folder
from allmlp.data.images import Images, Source
from allmlp.data.parquet import has_parquet, open_parquet
from allmlp.data.parts import Parts, labelled
from allmlp.data.progress import tell
from allmlp.data.run_folders import refuse_run_folder
from allmlp.data.shards import has_shards, is_shard, open_shards
from allmlp.data.split import few_shots, limited
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
    drop_duplicates: bool = False,
    layout: str = "auto",
    quiet: bool = False,
) -> Source:
    """spec: None (the embedded subset), or what `open_parts` knows. limit: at most so many training images;
    shots: at most so many of each class. least: classes. drop_duplicates: as for `assembled`. layout: as for `open_tree`.

    Raises DataError when there is nothing to train on.
    """
    if spec is None:
        source = fashion.embedded()
    else:
        parts = open_parts(spec, layout=layout, quiet=quiet)
        source = assembled(parts, val_share, seed, least, drop_duplicates=drop_duplicates)
    if shots is not None:
        source = replace(source, train=source.train.subset(few_shots(source.train.labels, len(source.classes), shots, seed)))
    if limit is not None:
        chosen = limited(source.train.labels, len(source.classes), limit, seed)
        source = replace(source, train=source.train.subset(chosen))
    return source


def open_labelled(
    spec: str | os.PathLike[str], classes: tuple[str, ...], *, layout: str = "auto", quiet: bool = False
) -> tuple[Images, list[Failure]]:
    """The images to judge a model with these classes on: the test part, else the validation part, else all of them.

    Says on stderr how they were found where that is no matter of course, unless quiet. Returns (images, left out). Raises
    DataError for classes the model does not know.
    """
    images, left_out, found = labelled(open_parts(spec_of(spec), layout=layout, quiet=quiet), classes)
    tell(found, quiet=quiet)
    return images, left_out


def spec_of(data: object) -> str:
    """DATA as text. Raises DataError for what is neither a path nor a name."""
    text = os.fspath(data) if isinstance(data, str | os.PathLike) else data
    if not isinstance(text, str):
        raise DataError(
            f"images are expected here, and what was given is of type {type(data).__name__}",
            hint="give a folder of class folders, an archive of one, or a data set's name",
        )
    return text


def open_parts(spec: str, *, layout: str = "auto", quiet: bool = False) -> Parts:
    """A folder of class folders, a tar or zip archive of one, shards, parquet files, or a data set known by name.

    What lies at the path comes first: a folder may be called fashion-mnist. layout: of a folder or an archive, as for
    `open_tree`. Raises DataError for anything else.
    """
    path = Path(spec).expanduser()
    if is_address(spec) or ("{" in spec and not path.exists()):
        return open_shards(spec, quiet=quiet)
    if path.exists():
        return _opener(path, layout)(path, quiet=quiet)
    for prefix, opener in PREFIXES.items():
        if spec.startswith(prefix):
            return opener(spec, quiet=quiet)
    if spec in NAMED:
        return fashion.whole()
    raise DataError(f"{spec} is neither a folder nor a data set known by name", hint=_hint(spec))


def _opener(path: Path, layout: str) -> Callable[..., Parts]:
    """By what a path holds. Class folders are not hidden by a table or an archive beside them."""
    refuse_run_folder(path)
    if path.is_dir():
        if has_shards(path):
            return open_shards
        if has_parquet(path) and not _has_classes(path):
            return open_parquet
        return partial(open_folder, layout=layout)
    if path.suffix.lower() == ".parquet":
        return open_parquet
    kind = kind_of(path)
    if kind == "tar" and is_shard(path):
        return open_shards
    if kind is not None:
        return partial(open_archive, layout=layout)
    raise DataError(
        f"{path} is not a folder, nor a file of images",
        hint="give a folder that has one folder of images per class, a .tar or .zip of it, or a .parquet file",
    )


def _has_classes(path: Path) -> bool:
    """Whether several folders hold images, or one holds folders of images: splits, or class folders one folder down."""
    tree = Folder(path)
    full = [name for name in tree.folders() if tree.inside(name).holds_images()]
    return len(full) > 1 or any(tree.inside(name).folders() for name in full)


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
