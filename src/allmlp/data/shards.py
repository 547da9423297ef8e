"""WebDataset shards: tar archives of samples, each some files of one name, such as 0001.jpg, 0001.cls and 0001.json."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from allmlp.data import index, remote
from allmlp.data.addresses import is_address
from allmlp.data.fetched import identity, kept
from allmlp.data.folder import Folder, files_of, split_places
from allmlp.data.images import PackedImages
from allmlp.data.index import Index, Shard
from allmlp.data.names import ending, is_hidden, is_image, nfc, split_in, split_of
from allmlp.data.parts import Part, Parts, checked, parts_of
from allmlp.data.progress import watched
from allmlp.data.tar import Member, members
from allmlp.errors import DataError

LABELS = ("label", "cls", "class", "target")
"""Fields of a sample's JSON that may hold its label."""
USED = (".cls", ".json")
"""Endings of files that tell a class, or about the image."""
CLASS_NAMES = ("classnames.txt", "classes.txt")
"""Files beside the shards that may name numbered classes, a line each."""
LONGEST = 1_000_000
"""Bytes of a label or of JSON that are read."""
MOST_SHARDS = 1_000_000
SCAN = 2
"""Version of what is kept of a look through a shard."""
LOOKED_AT = 50
"""Members of an archive that tell what it is."""


@dataclass(frozen=True)
class Samples:
    """The labelled pictures of one shard, in its order."""

    names: list[str]
    labels: list[str]
    """Names of classes, or numbers as text."""
    offsets: list[int]
    lengths: list[int]
    passed_over: dict[str, int] = field(default_factory=dict)
    numbers: list[int] | None = None
    """Places in the order that the data had before packing."""

    def named(self, names: list[str]) -> "Samples":
        """The same with numbers replaced by the names they stand for."""
        return replace(self, labels=[names[int(label)] for label in self.labels])


def has_shards(folder: Path) -> bool:
    """Whether a folder holds shards: archives and no class folders, or such folders for train, val and test."""
    if not _archives(folder):
        return False
    inside = Folder(folder)
    parts = all(split_of(name) and not any(map(is_image, inside.inside(name).here())) for name in inside.folders())
    flat = parts and not any(inside.inside(name).folders() for name in inside.folders())
    return flat or (folder / index.NAME).is_file()


def is_shard(path: Path) -> bool:
    """Whether an archive holds samples with labels of their own, as its first files tell, rather than class folders."""
    return any(member.name.endswith(".cls") for member in members(path, most=LOOKED_AT)[0])


def open_shards(spec: str | Path, *, quiet: bool = False) -> Parts:
    """The parts of a folder of shards, of a pattern such as data/train-{000..015}.tar, or of an fsspec address of either.

    Shards that lie elsewhere are fetched into the cache folder. Raises DataError.
    """
    spec = str(spec)
    title = PurePosixPath(spec.split("{")[0]).name.removesuffix(".tar").strip("-_.") or "shards"
    if is_address(spec):
        shards, known = remote.fetch(expanded(spec), quiet=quiet)
        return _parts(*_unless_indexed(shards, known, quiet), spec, title, quiet)
    folder = Path(spec).expanduser()
    paths = _archives(folder) if folder.is_dir() else [Path(name).expanduser() for name in expanded(spec)]
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        raise DataError(
            f"{missing[0] if missing else spec} is missing ({len(missing)} of {len(paths)} shards of {spec} are)",
            hint="check the pattern's numbers, or give a folder of .tar files",
        )
    shards = [(str(path), path) for path in paths]
    place = paths[0].parent / index.NAME
    known = index.read_index(place.read_bytes(), str(place)) if place.is_file() else None
    if folder.is_dir():
        title = folder.resolve().name
        if known is not None:
            _refuse_gaps(known, paths, folder)
    return _parts(*_unless_indexed(shards, known, quiet), spec, title, quiet)


def _refuse_gaps(known: Index, paths: list[Path], folder: Path) -> None:
    """Raises DataError for a folder that has lost shards of its index; a pattern may well name a few of them."""
    gone = sorted({shard.file for shard in known.shards} - {path.name for path in paths})
    if gone:
        raise DataError(
            f"{folder} has no {gone[0]}, which its index names ({len(gone)} of {len(known.shards)} are missing)",
            hint="fetch or pack them again, or give a pattern of those that are there",
        )


def expanded(pattern: str) -> list[str]:
    """a-{000..002}.tar → a-000.tar, a-001.tar, a-002.tar; {x,y} → x, y; as a shell would. Raises DataError."""
    match = re.search(r"\{([^{}]*)\}", pattern)
    if match is None:
        return [pattern]
    span = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    if span is not None:
        numbers = range(int(span[1]), min(int(span[2]), int(span[1]) + MOST_SHARDS) + 1)
        inner = [f"{number:0{len(span[1])}}" for number in numbers]
    else:
        inner = match[1].split(",")
    if len(inner) < (1 if span else 2) or len(inner) > MOST_SHARDS:
        raise DataError(f"{match[0]} in {pattern} is no pattern", hint="write {000000..000015} or {train,val}")
    return [name for text in inner for name in expanded(pattern[: match.start()] + text + pattern[match.end() :])]


Named = tuple[str, Path]
"""A shard: what it is called, and where it lies."""


@dataclass(frozen=True)
class Looked:
    """A shard after a look inside."""

    name: str
    path: Path
    part: str
    """"train", "val" or "test"."""
    samples: Samples


def _unless_indexed(shards: Sequence[Named], known: Index | None, quiet: bool) -> tuple[list[Looked], list[str]]:
    """(shards, all classes in order), from the index where there is one that knows all these shards."""
    of = {shard.file: shard for shard in known.shards} if known is not None else {}
    if known is not None and all(PurePosixPath(name).name in of for name, _ in shards):
        noted = [(name, path, of[PurePosixPath(name).name]) for name, path in shards]
        read = [Looked(n, path, s.part, _from_index(s, path, known.classes)) for n, path, s in noted]
        return read, list(dict.fromkeys(map(nfc, known.classes)))
    looked = watched(shards, total=len(shards), what="looking through shards", quiet=quiet)
    scanned = [Looked(name, path, split_in(name) or "train", _looked_through(path)) for name, path in looked]
    labels = {label for shard in scanned for label in shard.samples.labels}
    if not all(label.isdecimal() for label in labels):
        return scanned, sorted(labels)
    names, numbered = _class_names(shards[0][1].parent), sorted(labels, key=int)
    if names is None or (numbered and int(numbered[-1]) >= len(names)):
        return scanned, numbered
    return [replace(s, samples=s.samples.named(names)) for s in scanned], names


def _from_index(shard: Shard, path: Path, classes: list[str]) -> Samples:
    size = path.stat().st_size
    if size != shard.bytes:
        raise DataError(f"{path} has {size:,} bytes and its index says {shard.bytes:,}", hint="fetch, copy or pack it again")
    labels = [nfc(classes[label]) for label in shard.labels]
    return Samples(shard.names, labels, shard.offsets, shard.lengths, numbers=shard.numbers)


def _looked_through(path: Path) -> Samples:
    """A shard without an index; what is found is kept in the cache folder."""
    made_from = identity(path)

    def make(target: Path) -> None:
        target.write_text(json.dumps(asdict(scanned(path))), encoding="utf-8")

    try:
        return Samples(**json.loads(kept("shards", f"{path.stem}.json", [*made_from, SCAN], make).read_bytes()))
    except DataError:  # nowhere to keep it, or the shard is damaged, which then shows again
        return scanned(path)


def scanned(path: Path) -> Samples:
    """The samples of a shard: pictures with a .cls or .json of their name, or else in a folder named as their class.

    Raises DataError for an archive that is damaged.
    """
    found, passed_over = members(path)
    found = [member for member in found if not is_hidden(member.name)]
    rows: list[tuple[str, str, int, int]] = []
    with path.open("rb") as file:
        for _, group in groupby(found, key=_key):
            sample = list(group)
            images = [member for member in sample if is_image(member.name)]
            label = _label(file, sample)
            if label is not None:
                taken = [(member, label) for member in images[:1]]
                passed_over["more images of a sample"] += len(images) - len(taken)
            else:
                taken = [(member, folder) for member in images if (folder := PurePosixPath(member.name).parent.name)]
                passed_over["images without a class"] += len(images) - len(taken)
            rows += [(member.name, nfc(text), member.offset, member.size) for member, text in taken]
            passed_over.update(kind for m in sample if (kind := ending(m.name)) not in USED and not is_image(m.name))
    names, labels, offsets, lengths = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    return Samples(names, labels, offsets, lengths, dict(+passed_over))


def _key(member: Member) -> str:
    """WebDataset's: the name up to the first dot after its folders."""
    path = PurePosixPath(member.name)
    return str(path.parent / path.name.split(".")[0])


def _label(file: BinaryIO, sample: list[Member]) -> str | None:
    for member in sample:
        if member.size <= LONGEST and member.name.endswith((".cls", ".json")):
            file.seek(member.offset)
            content = file.read(member.size)
            label = _from_json(content) if member.name.endswith(".json") else content.decode("utf-8", "replace")
            if label is not None and label.strip():
                return label.strip()[:200]
    return None


def _from_json(content: bytes) -> str | None:
    try:
        table = json.loads(content)
    except (ValueError, RecursionError):
        return None
    values = [table.get(name) for name in LABELS] if isinstance(table, dict) else []
    return next((str(value) for value in values if isinstance(value, int | str)), None)


def _parts(shards: list[Looked], classes: list[str], spec: str, title: str, quiet: bool) -> Parts:
    of = {part: [shard for shard in shards if shard.part == part] for part in index.PARTS}
    openers = {part: partial(_listed, found, classes, f"{spec} ({part})", quiet) for part, found in of.items() if found}
    return parts_of(openers, title=title, place=spec, split="the val shards")


def _listed(shards: list[Looked], classes: list[str], place: str, quiet: bool) -> Part:
    """The images of one part, in the order they had before packing where that is known."""
    every = [shard.samples for shard in shards]
    labels = [label for samples in every for label in samples.labels]
    if not labels:
        raise DataError(
            f"{place} has no labelled pictures",
            hint="give each picture a .cls or .json file of its name, or a folder named as its class",
        )
    there = set(labels)
    present = [name for name in classes if name in there]
    number = {name: i for i, name in enumerate(present)}
    places = [(i, *row) for i, s in enumerate(every) for row in zip(s.offsets, s.lengths, strict=True)]
    images = PackedImages(
        [str(shard.path) for shard in shards],
        np.array(places, dtype=np.int64),
        [name for samples in every for name in samples.names],
        [number[label] for label in labels],
        [shard.name for shard in shards],
    )
    if all(samples.numbers is not None for samples in every):
        order = np.array([number for samples in every for number in samples.numbers or ()])
        images = images.subset(np.argsort(order, kind="stable"))
    passed_over: Counter[str] = Counter()
    for samples in every:
        passed_over.update(samples.passed_over)
    return checked(Part(place=place, classes=tuple(present), images=images, passed_over=passed_over), quiet=quiet)


def _class_names(folder: Path) -> list[str] | None:
    for name in CLASS_NAMES:
        if (folder / name).is_file():
            lines = (folder / name).read_text(encoding="utf-8", errors="replace").splitlines()
            return [nfc(line.strip()) for line in lines if line.strip()]
    return None


def _archives(folder: Path) -> list[Path]:
    """The shards of a folder, and of folders for splits in it."""
    return [path for place in split_places(folder) for path in files_of(place, ".tar")]
