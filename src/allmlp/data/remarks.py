"""What a person should know of a data set before training on it, in words."""

from allmlp.data.images import Source
from allmlp.data.parts import findings

UNEVEN = 20
"""The largest class has more than so many times the images of the smallest: that is said."""


def numbers_of(source: Source) -> str:
    """ "80 training, 10 validation and 12 test images"."""
    test = "" if source.test is None else f" and {len(source.test):,} test"
    return f"{len(source.train):,} training{',' if test else ' and'} {len(source.val):,} validation{test} images"


def remarks(source: Source) -> list[str]:
    """How the images were found, what was passed over, images that are there twice, and classes of uneven size."""
    return [*findings(source.notes, source.passed_over), *_twice(source), *_uneven(source)]


def imbalance(source: Source) -> float | None:
    """Training images of the largest class for each of the smallest; None where a class has none."""
    counts = source.train.counts(len(source.classes))
    return max(counts) / min(counts) if all(counts) else None


def _twice(source: Source) -> list[str]:
    found = source.duplicates
    if found is None:
        return []
    said = []
    if found.held_out:
        one = found.held_out == 1
        held = f"{found.held_out:,} validation or test image{'s' * (not one)}"
        what = f"{held} {'is a training image' if one else 'are training images'} as well, to the byte"
        told = (
            f"{source.dropped:,} dropped from training" if source.dropped else "--data.drop-duplicates drops them from training"
        )
        said.append(f"{what} ({told})")
    if found.tested:
        what = "image is a validation image" if found.tested == 1 else "images are validation images"
        said.append(f"{found.tested:,} test {what} as well")
    if found.repeated:
        several = f"{found.repeated:,} {'image is a copy' if found.repeated == 1 else 'images are copies'}"
        said.append(f"{several} of another image of the same split")
    if found.contradictory:
        said.append(f"{found.contradictory:,} image{'s' * (found.contradictory != 1)} in more than one class")
    return said


def _uneven(source: Source) -> list[str]:
    ratio = imbalance(source)
    if ratio is None or ratio <= UNEVEN:
        return []
    counts = source.train.counts(len(source.classes))
    most, least = (source.classes[counts.index(count)] for count in (max(counts), min(counts)))
    return [f"uneven classes: {most} has {max(counts):,} training images, {least} {min(counts):,}, {ratio:.0f} to 1"]
