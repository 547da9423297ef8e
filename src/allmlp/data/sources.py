"""DATA on the command line → a Source."""

from dataclasses import replace
from pathlib import Path

from allmlp.data import fashion
from allmlp.data.folder import open_folder
from allmlp.data.images import Source
from allmlp.data.split import limited
from allmlp.errors import DataError, one_of

NAMED = ("fashion-mnist",)


def open_source(spec: str | None, *, val_share: float, seed: int, limit: int | None = None) -> Source:
    """spec: None (the embedded subset), "fashion-mnist", or a folder. limit: at most so many training images.

    Raises DataError when there is nothing to train on.
    """
    if spec is None:
        source = fashion.embedded()
    elif spec in NAMED and not Path(spec).is_dir():
        source = fashion.whole(val_share, seed)
    else:
        path = Path(spec)
        if not path.expanduser().exists():
            raise DataError(f"{spec} is neither a folder nor a data set known by name", mend=_mend(spec))
        source = open_folder(path, val_share, seed)
    bad = len(source.left_out)
    source = replace(source, bad_share=bad / (len(source.train) + len(source.val) + bad))
    if limit is not None:
        chosen = limited(source.train.labels, len(source.classes), limit, seed)
        source = replace(source, train=source.train.subset(chosen))
    return source


def _mend(spec: str) -> str:
    hint = one_of(NAMED, spec)
    return hint if hint.startswith("did") else f"give a folder of class folders, one of {', '.join(NAMED)}, or nothing"
