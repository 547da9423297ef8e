"""Cut the embedded subset and the example pictures from the training split of Fashion-MNIST.

    python scripts/make_embedded.py /usr/share/datasets/fashion-mnist

900 images per class to train, 100 to validate, and for each class one more, in neither, as a PNG in
examples/. The test split is not touched. The output is the same bit for bit on every run.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from allmlp.data.fashion import CLASSES, EMBEDDED, read_idx

TRAIN, VAL = 900, 100
EXAMPLES = Path(__file__).parent.parent / "examples"


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


def main(folder: Path) -> None:
    pixels, labels = read_idx(folder / "train-images-idx3-ubyte.gz"), read_idx(folder / "train-labels-idx1-ubyte.gz")
    generator = np.random.default_rng(2021)
    parts: dict[str, list[np.ndarray]] = {"train": [], "val": []}
    for number, name in enumerate(CLASSES):
        order = generator.permutation(np.flatnonzero(labels == number))
        parts["train"].append(order[:TRAIN])
        parts["val"].append(order[TRAIN : TRAIN + VAL])
        Image.fromarray(pixels[order[TRAIN + VAL]]).save(EXAMPLES / f"{name.replace(' ', '-')}.png", optimize=True)
    for part, chosen in parts.items():
        order = np.sort(np.concatenate(chosen))
        write_idx(EMBEDDED / f"{part}-images-idx3-ubyte.gz", pixels[order])
        write_idx(EMBEDDED / f"{part}-labels-idx1-ubyte.gz", labels[order])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
