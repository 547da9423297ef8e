"""Any number of pictures, one after the other in a fixed order, none held: folders, lists, patterns, archives, tables."""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from allmlp.data import addresses
from allmlp.data.addresses import is_address
from allmlp.data.archive import images_in, is_archive
from allmlp.data.folder import walk_files
from allmlp.data.names import ending, is_image
from allmlp.data.parquet import count_rows, picture_rows
from allmlp.data.progress import counting
from allmlp.data.shards import expanded
from allmlp.errors import DataError
from allmlp.pixels.read import decode_image, read_image
from allmlp.pixels.reading import Reading

KINDS = (
    "give pictures, folders, @list.txt, a pattern such as 'shots/*.jpg' or data-{000..015}.tar, .tar, .zip or .parquet files, "
    "or addresses of any of these"
)


@dataclass(frozen=True)
class Picture:
    """One that may yet turn out to be unreadable."""

    name: str
    open: Callable[[Reading | int], Image.Image]
    """Number of channels, or more than that → the image. Raises UnreadableImage."""


@dataclass(frozen=True)
class Survey:
    """A source at one moment."""

    count: int
    digest: str
    """Of the names, sizes and times of all its files: another one means other pictures, or another order."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Ending → files in folders that are no images."""


@dataclass(frozen=True)
class Stretch:
    """Some pictures of one place, which is a picture, an archive or a table: from number `start` up to `stop`."""

    place: str
    start: int
    stop: int


def survey(sources: Iterable[str], *, quiet: bool = True) -> Survey:
    """Count the pictures without opening any; archives and tables at an address are fetched into the cache folder.

    quiet: no bar. Raises DataError for a source that is not there, or where there is none.
    """
    given, count, digest, others = list(sources), 0, hashlib.sha256(), Counter[str]()
    with counting(None, "looking at the sources", quiet=quiet) as more:
        for place, stamp in _places(given, others):
            digest.update(f"{place}\0{_stamp(place) if stamp is None else stamp}\n".encode(errors="surrogateescape"))
            found = _count(place)
            count += found
            more(found)
    if not count:
        raise DataError(f"there is no picture in {', '.join(given) or 'nothing'}", hint=KINDS)
    return Survey(count, digest.hexdigest(), others)


def stream(sources: Iterable[str], start: int = 0) -> Iterator[Picture]:
    """Every picture from number `start` on; what lies before it is passed over unread."""
    for place, _ in _places(list(sources)):
        count = _count(place) if start else 0
        if count and count <= start:
            start -= count
            continue
        yield from pictures(place, start)
        start = 0


def pictures(place: str, start: int = 0, stop: int | None = None) -> Iterator[Picture]:
    """Those of one place, from number `start` up to `stop`; None: to the end."""
    if _is_table(place):
        return islice(_rows(place, start), None if stop is None else stop - start)
    return islice(_inside(place), start, stop)


def stretches(sources: Iterable[str], spans: Iterable[range]) -> Iterator[tuple[range, list[Stretch]]]:
    """Where the pictures of each span lie. spans: ascending, of numbers that a survey found. Raises DataError if it no longer
    finds them."""
    places = (place for place, _ in _places(list(sources)))
    place, first, end = "", 0, 0  # the place with pictures `first` to `end`
    for span in spans:
        found, at = [], span.start
        while at < span.stop:
            while end <= at:
                following = next(places, None)
                if following is None:
                    raise changed()
                place, first, end = following, end, end + _count(following)
            stop = min(end, span.stop)
            found.append(Stretch(place, at - first, stop - first))
            at = stop
        yield span, found


def changed() -> DataError:
    """Fewer pictures than the survey counted."""
    return DataError("the sources changed while they were read", hint="start afresh when they are at rest")


Place = tuple[str, str | None]
"""A picture, an archive or a table, and its stamp where the listing tells it."""


def _places(sources: list[str], passed_over: Counter[str] | None = None) -> Iterator[Place]:
    """passed_over: is told the endings of other files in folders.

    What a list names may be missing, and is then an unreadable picture."""
    others: Counter[str] = Counter() if passed_over is None else passed_over
    for source in sources:
        path = Path(source).expanduser()
        if source.startswith("@"):
            yield from ((name, "" if is_address(name) else None) for name in _listed(Path(source[1:]).expanduser()))
        elif is_address(source):
            yield from (place for one in expanded(source) for place in _at(one, others))
        elif path.is_dir():
            yield from _of_folder(((file, None) for file in walk_files(path)), others)
        elif path.exists():
            yield str(path), None
        else:
            yield from ((name, None) for name in _matching(source))


def _at(url: str, passed_over: Counter[str]) -> Iterator[Place]:
    """The same at one address: of a file, as its name tells, of a pattern, or of a folder."""
    if "*" in url:
        yield from (place for place in addresses.listed(url) if _is_known(place[0]))
    elif _is_known(url):
        yield url, addresses.stamp(url)
    else:
        yield from _of_folder(addresses.listed(url), passed_over)


def _of_folder(files: Iterable[Place], passed_over: Counter[str]) -> Iterator[Place]:
    """Its images; where it has none, its archives and tables."""
    none, others = True, []
    for place in files:
        if is_image(place[0]):
            none = False
            yield place
        elif none and _is_known(place[0]):
            others.append(place)
        else:
            passed_over[ending(place[0])] += 1
    if none:
        yield from others
    else:
        passed_over.update(ending(name) for name, _ in others)


def _is_known(place: str) -> bool:
    name = addresses.file_name(place)
    return is_image(name) or is_archive(name) or _is_table(name)


def _is_table(place: str) -> bool:
    return addresses.file_name(place).lower().endswith(".parquet")


def _local(place: str) -> Path:
    """The place itself, or a copy of what lies at an address."""
    return addresses.local(place) if is_address(place) else Path(place)


def _listed(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as lines:
            yield from (name for line in lines if (name := line.rstrip("\r\n")))
    except OSError as error:
        raise DataError(f"@{path} cannot be read: {error.strerror}", hint="give a text file with one path a line") from None


def _matching(pattern: str) -> Iterator[str]:
    found = (name for one in expanded(pattern) for name in glob.iglob(one, recursive=True))  # noqa: PTH207 - absolute ones too
    names = sorted(name for name in found if Path(name).is_file())
    if not names:
        raise DataError(f"{pattern} does not exist, and nothing is called like it", hint=KINDS)
    yield from names


def _stamp(place: str) -> str:
    try:
        status = os.stat(place)  # noqa: PTH116 - called for every picture of millions
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _count(place: str) -> int:
    if _is_table(place):
        return count_rows(_local(place))
    return sum(1 for _ in _inside(place)) if is_archive(addresses.file_name(place)) else 1


def _inside(place: str) -> Iterator[Picture]:
    if not is_archive(addresses.file_name(place)):
        yield Picture(place, partial(_fetched if is_address(place) else read_image, place))
        return
    images = images_in(_local(place), place)
    for i in range(len(images)):
        yield Picture(images.name(i), partial(images.open, i))


def _fetched(url: str, wanted: Reading | int) -> Image.Image:
    return decode_image(addresses.content(url), url, wanted)


def _rows(place: str, start: int) -> Iterator[Picture]:
    for row, content in picture_rows(_local(place), start):
        name = f"{place}:row {row}"
        yield Picture(name, partial(decode_image, content, name))
