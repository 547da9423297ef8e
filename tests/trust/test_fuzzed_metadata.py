"""Whatever else a file says of itself, its image is read, and turned as its orientation says."""

from collections import Counter

import numpy as np
from scorecard import Card, Fault

import odd_metadata
from allmlp.pixels.read import decode_image, probe_content

FAULT = Fault(210, "Odd metadata", "every image is read, and its pixels are those of the plain file, turned by tag 274 alone")
FULL, QUICK = 20_000, 400


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:  # h w c
    """The eight of EXIF's standard, by numpy: which side of the image as it is stored the first row and column are."""
    mirrored = pixels[:, ::-1] if orientation in (2, 4, 5, 7) else pixels
    return np.rot90(mirrored, {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: -1, 7: -1, 8: 1}[orientation])


def test_no_metadata_decides_whether_an_image_is_read(card: Card) -> None:
    count = card.times(FULL, QUICK)
    plain = {s: np.asarray(decode_image(odd_metadata.plain(s), "plain", 3)) for s in odd_metadata.FORMATS}
    said: Counter[tuple[str, int]] = Counter()
    for number, (suffix, content, orientation) in enumerate(odd_metadata.cases(count, seed=0)):
        image = np.asarray(decode_image(content, f"{number}.{suffix}", 3))
        assert np.array_equal(image, turned(plain[suffix], orientation)), (number, suffix, orientation)
        assert probe_content(content, "").size in ((24, 16), (16, 24))
        said[suffix, orientation] += 1
    assert len(said) == 8 * len(odd_metadata.FORMATS)
    card.seen("EXIF with odd tags, damaged profiles, texts and previews, in four formats", count, "all read, all upright")
