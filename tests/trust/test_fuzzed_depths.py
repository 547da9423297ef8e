"""Damaged deep TIFF and PNG files and stacks are read by the rule or refused with a reason."""

import io
import random

import fuzzed
import numpy as np
from PIL import Image
from scorecard import Card, Fault

import tiffs
from allmlp.pixels.read import UnreadableImage, decode_image, look_into, probe_content
from allmlp.pixels.reading import Reading
from helpers import attempt

FAULT = Fault(211, "Damaged deep images", "an image of 8 bits or a reason, from the header, the values and the pixels alike")
FULL, QUICK = 20_000, 400


def originals() -> list[bytes]:
    """Of every type, in both byte orders, of several channels and pages."""
    found = []
    for dtype in ("int8", "uint16", "int16", "int32", "uint32", "float32"):
        values = tiffs.picture_of(0, (12, 9), dtype)
        found += [tiffs.tiff(values, order=order, tags={42113: tiffs.text("-9999")}) for order in "<>"]
        found.append(tiffs.tiff(values, values, big=True))
    colour = tiffs.picture_of(0, (12, 9, 4), "uint16")
    found.append(tiffs.tiff(colour, photometric=2, tags={338: tiffs.numbers("H", 2)}))
    for options in ({"compression": "tiff_lzw"}, {"compression": "tiff_deflate"}):
        file = io.BytesIO()
        Image.fromarray(colour[..., 0]).save(file, "TIFF", **options)
        found.append(file.getvalue())
    file = io.BytesIO()
    Image.fromarray(colour[..., 0]).save(file, "PNG")
    return [*found, file.getvalue()]


def test_each_is_read_or_refused(card: Card) -> None:
    count, chance, sources, read = card.times(FULL, QUICK), random.Random(0), originals(), 0
    for number in range(count):
        content = sources[number % len(sources)]
        for _ in range(chance.choice((1, 1, 2, 4))):
            content = chance.choice(fuzzed.DAMAGES)(content, chance)
        wanted = Reading(chance.choice((1, 3)), chance.choice((None, (0.0, 4095.0))), chance.choice((None, 1, 2)))
        image, error = attempt(UnreadableImage, decode_image, content, "damaged", wanted)
        assert error is not None or (image.mode == {1: "L", 3: "RGB"}[wanted.in_chans] and np.asarray(image).dtype == np.uint8)
        seen, _ = attempt(UnreadableImage, look_into, content, "damaged", wanted.page, 100)
        assert seen is None or seen.values is None or np.isfinite(seen.values).all()
        attempt(UnreadableImage, probe_content, content, "damaged")
        read += error is None
    assert 0 < read < count
    card.seen("16 and 32 bits, floats, stacks and transparency, damaged by a seed", count, f"{read:,} read, the others refused")
