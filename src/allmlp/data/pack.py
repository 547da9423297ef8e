"""Any data set → WebDataset shards and their index, shard by shard: what is finished is kept when it is begun again."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from allmlp.data import index
from allmlp.data.damage import Failure, refuse_too_many
from allmlp.data.images import Images, Indices
from allmlp.data.index import Index, Shard, checksum
from allmlp.data.parts import Part, Parts, findings, matched, together
from allmlp.data.progress import tell, watched
from allmlp.errors import DataError
from allmlp.files import whole_file
from allmlp.pixels.read import UnreadableImage, decode_image, look_into, probe_content

KEPT = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
"""Formats that stay as they are, bit for bit, unless a picture is larger than asked for."""
QUALITY = 92
"""Of the JPEG that a larger picture becomes."""
AHEAD = 256
"""Pictures that are made ready before those before them are written."""
DEEP = {"TIFF": "tif"}
"""Formats that stay as they are besides, with any number of pixels, where they have more than 8 bits a channel."""


@dataclass(frozen=True)
class Task:
    """One shard to write."""

    file: str
    part: str
    classes: tuple[str, ...]
    images: Images
    names: list[str]
    numbers: Indices
    """Which images of the part, in the shard's order."""
    plan: str
    """All of the above and the size, hashed."""


def pack(parts: Parts, out: Path, *, shards: int, size: int | None, max_bad_share: float = 0.01, quiet: bool = False) -> Index:
    """Write every image of a data set into about `shards` shards for training, and as many more as its other parts need.

    size: a picture whose shorter side is longer, in pixels, is resized to it, unless it has more than 8 bits a channel; None:
    none is. The images of a part are
    dealt out in a fixed random order, for programs that read shards from end to end; the index gives their own order back.
    Raises DataError when the folder holds something else, cannot be written, or too many images cannot be read.
    """
    if shards < 1 or (size is not None and size < 1):
        raise DataError(f"--shards {shards} --size {size} cannot be packed", hint="give whole numbers from 1 on")
    opened = {"train": parts.train(), **{n: p() for n, p in (("val", parts.val), ("test", parts.test)) if p is not None}}
    tell(findings(*together(parts, opened.values())), quiet=quiet)
    tasks, left_out, classes = _planned(opened, shards, size)
    try:
        out.mkdir(parents=True, exist_ok=True)
        done = _finished(out, tasks)
        total = sum(len(task.numbers) for task in tasks)
        for _ in watched(_written(tasks, out, size, done), total=total, what="packing", quiet=quiet):
            pass
        made = Index(
            title=parts.title,
            classes=list(classes),
            size=size,
            shards=[done[task.file] for task in tasks],
            left_out=[[path, reason] for path, reason in left_out],
        )
        bad = made.unreadable
        refuse_too_many(bad, len(bad) / (total + len(left_out)), max_bad_share, option="--max-bad-share")
        index.write_index(made, out / index.NAME)
        for task in tasks:
            _record(out, task.file).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{out} cannot be written: {error.strerror}", hint="make room or choose another --out; finished shards are kept"
        ) from None
    return made


def _planned(opened: dict[str, Part], shards: int, size: int | None) -> tuple[list[Task], list[Failure], tuple[str, ...]]:
    """The shards to write, the images that are known to be unreadable, and the classes."""
    classes = opened["train"].classes
    tasks, left_out, images_in_train = [], [], len(opened["train"].images)
    for seed, (name, part) in enumerate(opened.items()):
        images = matched(part, classes)
        left_out += part.left_out
        names = _short([images.name(i) for i in range(len(images))])
        count = min(max(round(shards * len(images) / images_in_train), 1), len(images))
        dealt = np.array_split(np.random.default_rng(seed).permutation(len(images)), count)
        tasks += [_task(f"{name}-{k:06}.tar", name, classes, images, names, numbers, size) for k, numbers in enumerate(dealt)]
    return tasks, left_out, classes


def _task(
    file: str, part: str, classes: tuple[str, ...], images: Images, names: list[str], numbers: Indices, size: int | None
) -> Task:
    content = [(names[i], i, int(images.labels[i])) for i in numbers.tolist()]
    plan = hashlib.sha256(json.dumps([index.FORMAT, size, QUALITY, content]).encode()).hexdigest()
    return Task(file, part, classes, images, names, numbers, plan)


def _short(names: list[str]) -> list[str]:
    """Names without the folders that are common to all of them, but with that of the class."""
    above = [name.replace(":", "/").rsplit("/", 2)[0] + "/" for name in names]
    start = os.path.commonprefix(above).rfind("/") + 1  # noqa: RUF071 - cut at a separator
    return [name[start:] for name in names]


def _finished(out: Path, tasks: list[Task]) -> dict[str, Shard]:
    """What an earlier run has finished of these tasks. Raises DataError for a folder with anything else in it."""
    of = {task.file: task for task in tasks}
    place = out / index.NAME
    known = index.read_index(place.read_bytes(), str(place)).shards if place.is_file() else []
    known += [shard for task in tasks if (shard := index.read_shard(_record(out, task.file))) is not None]
    others = {path.name for path in out.iterdir() if not path.name.startswith(".")} - {index.NAME} - of.keys()
    if others or any(shard.file not in of or shard.plan != of[shard.file].plan for shard in known):
        what = f"has other files ({sorted(others)[0]})" if others else "holds other images, or of another size"
        raise DataError(f"{out} {what}", hint="choose another --out, or empty the folder")
    for stale in (*out.glob(".*.tar"), *out.glob("..*.json")):  # what a killed run was writing
        stale.unlink()
    return {s.file: s for s in known if (out / s.file).is_file() and checksum(out / s.file) == s.sha256}


def _record(out: Path, file: str) -> Path:
    """Where a finished shard is noted until there is an index."""
    return out / f".{file}.json"


def _written(tasks: list[Task], out: Path, size: int | None, done: dict[str, Shard]) -> Iterator[None]:
    """Write what is missing, and note it in `done`; yields once for each image."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 16)) as pool:
        for task in tasks:
            if task.file in done:
                yield from (None for _ in task.numbers)
                continue
            with whole_file(out / task.file) as temporary:
                shard = yield from _shard(task, temporary, size, pool)
            done[task.file] = shard
            index.write_shard(shard, _record(out, task.file))


def _shard(task: Task, path: Path, size: int | None, pool: ThreadPoolExecutor) -> Generator[None, None, Shard]:
    """Write one shard; yields once for each image."""
    rows: list[tuple[int, int, int]] = []  # number, offset, length
    unreadable: list[list[str]] = []

    def ready(number: int) -> tuple[str, bytes] | UnreadableImage:
        try:
            return _file(task.images, number, size)
        except UnreadableImage as error:
            return error

    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for start in range(0, len(task.numbers), AHEAD):
            chunk = task.numbers[start : start + AHEAD].tolist()
            for number, made in zip(chunk, pool.map(ready, chunk), strict=True):
                yield
                if isinstance(made, UnreadableImage):
                    unreadable.append([made.path, made.reason])
                    continue
                suffix, content = made
                rows.append((number, _add(archive, f"{number:08}.{suffix}", content), len(content)))
                label = int(task.images.labels[number])
                _add(archive, f"{number:08}.cls", str(label).encode())
                about = {"label": label, "class": task.classes[label], "name": task.names[number]}
                _add(archive, f"{number:08}.json", json.dumps(about).encode())
    return Shard(
        file=task.file,
        part=task.part,
        bytes=path.stat().st_size,
        sha256=checksum(path),
        plan=task.plan,
        numbers=[number for number, _, _ in rows],
        names=[task.names[number] for number, _, _ in rows],
        labels=[int(task.images.labels[number]) for number, _, _ in rows],
        offsets=[offset for _, offset, _ in rows],
        lengths=[length for _, _, length in rows],
        unreadable=unreadable,
    )


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file, with nothing in its header that differs between two runs. Returns the offset of its content."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    archive.addfile(info, io.BytesIO(content))
    return archive.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE  # it is padded to whole blocks


def _file(images: Images, number: int, size: int | None) -> tuple[str, bytes]:
    """(suffix, bytes) of a picture file for a shard. Raises UnreadableImage, also for damage that only decoding finds."""
    content, name = images.content(number), images.name(number)
    if content is None:
        image = images.open(number, images.in_chans)
    else:
        header, seen = probe_content(content, name), look_into(content, name, None, 0)
        image = decode_image(content, name, 1 if seen.grey else 3)
        if seen.values is not None:  # no range is known by which its values could become 8 bits
            return (KEPT | DEEP)[header.format], content
        if header.format in KEPT and (size is None or min(image.size) <= size):
            return KEPT[header.format], content
    if size is None or min(image.size) <= size:
        return "png", _encoded(image, "PNG")
    width, height = (max(size, round(side * size / min(image.size))) for side in image.size)
    return "jpg", _encoded(image.resize((width, height), Image.Resampling.BICUBIC), "JPEG")


def _encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=QUALITY)
    return file.getvalue()
