"""The splits of a data set → a source to train on: classes matched, validation images held out, copies found."""

import numpy as np

from allmlp.data.grouping import described, grouped
from allmlp.data.images import Images, Indices, Source
from allmlp.data.names import few, says_nothing, split_of
from allmlp.data.parts import PROBED, Parts, matched, together
from allmlp.data.split import split_off
from allmlp.errors import DataError


def assembled(parts: Parts, val_share: float, seed: int, least: int = 2, *, drop_duplicates: bool = False) -> Source:
    """A source to train on.

    Without a validation split, images are held out of the training images; images that are there twice, to the byte, stay
    together. least: classes. drop_duplicates: leave out of training what is a validation or test image as well.
    Raises DataError for classes that do not fit together, or are too few.
    """
    train = parts.train()
    classes = train.classes
    if len(classes) < least:
        raise DataError(
            f"{train.place} has one class, {classes[0]!r}: there is nothing to tell apart",
            hint=f"sort the images of {classes[0]} into one folder per class"
            if split_of(classes[0])
            else "add images of another class",
        )
    found = {"train": train}
    if parts.val is not None:
        found["val"] = parts.val()
        missing = sorted(set(classes) - set(found["val"].classes))
        if missing:
            raise DataError(
                f"{found['val'].place} has no images of {few(missing)}",
                hint=f"add some, or remove {parts.split} and let allmlp hold images out",
            )
    notes: tuple[str, ...] = ()
    if parts.test is not None:
        test = parts.test()
        if len(test.classes) == 1 and test.classes[0] not in classes and says_nothing(test.classes[0]):
            count = len(test.images)
            notes = (f"{count:,} test image{'s' * (count != 1)} passed over: {test.classes[0]} in {test.place} is no class",)
        else:
            found["test"] = test
    images, split = {name: matched(part, classes) for name, part in found.items()}, parts.split
    groups = grouped(images, most=None if drop_duplicates else PROBED)
    if "val" not in images:
        copies = None if groups is None else groups["train"]
        inside, outside = split_off(train.images.labels, classes, val_share, seed, copies)
        images |= {"train": train.images.subset(inside), "val": train.images.subset(outside)}
        if groups is not None:
            groups |= {"train": groups["train"][inside], "val": groups["train"][outside]}
        split = f"{val_share:g} of each class, seed {seed}"
    twice = None if groups is None else described(images, groups)
    dropped = 0
    if drop_duplicates and groups is not None:
        kept = without(images["train"], groups, classes, train.place)
        dropped = len(images["train"]) - len(kept)
        images["train"] = kept
    told, passed_over = together(parts, found.values())
    left_out = [failure for part in found.values() for failure in part.left_out]
    return Source(
        title=parts.title,
        classes=classes,
        train=images["train"],
        val=images["val"],
        test=images.get("test"),
        split=split,
        in_chans=parts.in_chans,
        img_size=parts.img_size,
        left_out=left_out,
        bad_share=len(left_out) / (sum(map(len, images.values())) + dropped + len(left_out)),
        notes=(*told, *notes),
        passed_over=passed_over,
        duplicates=twice,
        dropped=dropped,
    )


def without(train: Images, groups: dict[str, Indices], classes: tuple[str, ...], place: str) -> Images:
    """The training images that are no validation or test image, to the byte. Raises DataError where a class has no other."""
    held = np.concatenate([numbers for name, numbers in groups.items() if name != "train"])
    kept = train.subset(np.flatnonzero(~np.isin(groups["train"], held)))
    empty = [classes[number] for number, count in enumerate(kept.counts(len(classes))) if not count]
    if empty:
        raise DataError(
            f"every training image of {few(empty)} in {place} is a validation or test image as well",
            hint="add images to it, or train without --data.drop-duplicates",
        )
    return kept
