"""One scene as cameras, editors and instruments write it: turned, transparent, deep, grey, with tags of the wrong type."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

SIZE = (36, 28)
"""(width, height): neither square nor the model's."""


def scene(size: tuple[int, int] = SIZE) -> NDArray[np.float64]:  # h w, 0 to 1
    """Smooth, and different in every corner: no turn of it looks alike."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return np.clip(0.9 * np.exp(-((x - 7) ** 2 + (y - 6) ** 2) / 70) + 0.45 * x / size[0] * (y / size[1]) ** 2, 0, 1)


def colours(size: tuple[int, int] = SIZE) -> Image.Image:
    """The scene, and other shares of it in green and blue."""
    red = scene(size)
    green, blue = 0.7 * red[::-1], np.linspace(0, 0.8, size[0])[None] * np.ones_like(red)
    return Image.fromarray((255 * np.stack([red, green, blue], 2)).round().astype(np.uint8))


def grey(scale: float = 255, dtype: type[np.generic] = np.uint8) -> Image.Image:
    return Image.fromarray((scale * scene()).round().astype(dtype))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(*entries: bytes) -> bytes:
    """EXIF of these entries of twelve bytes, little-endian."""
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)


def orientation(value: int) -> bytes:
    return struct.pack("<HHIHH", 274, 3, 1, value, 0)


ODD_TAG = struct.pack("<HHI4s", 282, 5, 1, b"\xff\xff\xff\xff")
"""XResolution, a fraction far outside the file: Pillow cannot write it again."""
SHORT_TAG = struct.pack("<HHIi", 40961, 3, 1, -7)


def _mask() -> Image.Image:
    return Image.fromarray(np.where(scene() > 0.25, 255, 0).astype(np.uint8))


def _clear(mode: str) -> Image.Image:
    image = colours().convert(mode.replace("A", "") or "L") if mode == "LA" else colours()
    image.putalpha(_mask())
    assert image.mode == mode
    return image


def _palette() -> Image.Image:
    image = colours().quantize(32)
    image.info["transparency"] = int(np.asarray(image)[0, -1])
    return image


def _png16(values: NDArray[np.uint16], clear: int | None = None) -> bytes:
    """Grey of 16 bits, with a value that is transparent; Pillow writes no such chunk."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))]
    chunks += [] if clear is None else [(b"tRNS", struct.pack(">H", clear))]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    made = (struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def _sixteen() -> NDArray[np.uint16]:
    return (65535 * scene()).round().astype(np.uint16)


def _raw_profile() -> bytes:
    """A PNG whose EXIF is a text of hexadecimal digits, as ImageMagick writes it."""
    content = exif(orientation(6))
    digits = content.hex()
    text = "\nexif\n" + f"{len(content):8}\n" + "\n".join(digits[i : i + 72] for i in range(0, len(digits), 72)) + "\n"
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", text, zip=True)
    return saved(colours(), "PNG", pnginfo=info)


def _inverted() -> bytes:
    """TIFF whose 0 is white."""
    return saved(grey(), "TIFF", tiffinfo={262: 0})


def _infinite() -> Image.Image:
    values = scene().astype(np.float32)
    values[3, 4] = np.inf
    return Image.fromarray(values)


ODD: dict[str, Callable[[], bytes]] = {
    "plain.jpg": lambda: saved(colours(), "JPEG", quality=95),
    **{
        f"turned-{turn}.jpg": (lambda turn=turn: saved(colours(), "JPEG", quality=95, exif=exif(orientation(turn))))
        for turn in range(1, 9)
    },
    "turned-nine.jpg": lambda: saved(colours(), "JPEG", exif=exif(orientation(9))),
    "odd-tag.jpg": lambda: saved(colours(), "JPEG", exif=exif(orientation(6), ODD_TAG)),
    "odd-tags.jpg": lambda: saved(colours(), "JPEG", exif=exif(orientation(8), ODD_TAG, SHORT_TAG)),
    "cut-exif.jpg": lambda: saved(colours(), "JPEG", exif=exif(orientation(6))[:-9]),
    "turned.png": lambda: saved(colours(), "PNG", exif=exif(orientation(6))[6:]),
    "raw-profile.png": _raw_profile,
    "turned.webp": lambda: saved(colours(), "WEBP", lossless=True, exif=exif(orientation(8))),
    "turned.tif": lambda: saved(colours(), "TIFF", tiffinfo={274: 6}),
    "cmyk.jpg": lambda: saved(colours().convert("CMYK"), "JPEG", quality=95),
    "ycc.jpg": lambda: saved(grey(), "JPEG", quality=95),
    "palette.png": lambda: saved(colours().quantize(16), "PNG"),
    "palette-clear.png": lambda: saved(_palette(), "PNG"),
    "la.png": lambda: saved(_clear("LA"), "PNG"),
    "rgba.png": lambda: saved(_clear("RGBA"), "PNG"),
    "rgba.webp": lambda: saved(_clear("RGBA"), "WEBP", lossless=True),
    "rgb-key.png": lambda: saved(colours(), "PNG", transparency=colours().getpixel((30, 20))),
    "one-bit.png": lambda: saved(grey().convert("1"), "PNG"),
    "still.gif": lambda: saved(colours().quantize(32), "GIF"),
    "clear.gif": lambda: saved(_palette(), "GIF", transparency=_palette().info["transparency"]),
    "moving.gif": lambda: saved(colours(), "GIF", save_all=True, append_images=[grey()]),
    "plain.bmp": lambda: saved(colours(), "BMP"),
    "sixteen.png": lambda: _png16(_sixteen()),
    "sixteen-key.png": lambda: _png16(_sixteen(), int(_sixteen()[5, 30])),
    "sixteen.tif": lambda: saved(Image.fromarray(_sixteen()), "TIFF"),
    "twelve.tif": lambda: saved(Image.fromarray((185 + 2033 * scene()).astype(np.uint16)), "TIFF"),
    "int16.tif": lambda: saved(Image.fromarray((3000 * scene() - 1000).astype(np.int32)), "TIFF"),
    "int32.tif": lambda: saved(Image.fromarray((300000 * scene()).astype(np.int32)), "TIFF"),
    "float.tif": lambda: saved(Image.fromarray(scene().astype(np.float32)), "TIFF"),
    "float-signed.tif": lambda: saved(Image.fromarray((2 * scene() - 1).astype(np.float32)), "TIFF"),
    "float-infinite.tif": lambda: saved(_infinite(), "TIFF"),
    "deep-turned.tif": lambda: saved(Image.fromarray(_sixteen()), "TIFF", tiffinfo={274: 6}),
    "inverted.tif": _inverted,
}
"""Name → the file's content. Every one can be read."""
