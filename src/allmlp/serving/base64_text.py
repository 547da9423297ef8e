"""Base64 as people and programs write it: with line breaks, for addresses, as a data URL."""

import base64
import binascii
import re

from allmlp.serving.refused import Refused

SPACE = str.maketrans("", "", " \t\r\n")
SAFE = str.maketrans("-_", "+/")
ADDRESS = re.compile(r"\s*(?:https?|ftp|file|blob|s3|gs):", re.IGNORECASE)
KINDS = ("image/", "application/octet-stream")
"""Media types of a data URL that may hold an image; none is given, too, often."""


def from_base64(text: str, name: str) -> bytes:
    """The bytes that a text says.

    Args:
        text: base64 in the standard alphabet or the one for URLs (RFC 4648, sections 4 and 5), not in both, with or without
            the padding at its end, and with line breaks or spaces anywhere; alone or as a data URL
            (`data:image/png;base64,…`, RFC 2397).
        name: of the image, for messages.

    Raises:
        Refused: (422) for anything else. Addresses are never followed.
    """
    if ADDRESS.match(text):
        raise Refused(422, f"{name} is an address, and none is followed", hint="send the file itself in base64")
    start = text[:32].lstrip()
    if start[:5].lower() == "data:":
        text = _of_data_url(text.lstrip()[5:], name)
    if "%" in text:
        raise Refused(422, f"{name} is percent-encoded", hint="send base64 as it is, with + / = and not %2B %2F %3D")
    written = text.translate(SPACE)
    plain = written.rstrip("=")
    padding = len(written) - len(plain)
    both = ("-" in plain or "_" in plain) and ("+" in plain or "/" in plain)
    if both or len(plain) % 4 == 1 or (padding and (padding > 2 or len(written) % 4)):
        raise _no_base64(name)
    try:
        return base64.b64decode(plain.translate(SAFE) + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _no_base64(name) from None


def _of_data_url(rest: str, name: str) -> str:
    """What follows the comma of `data:image/png;base64,…`."""
    head, comma, text = rest.partition(",")
    kind, *parameters = (part.strip().lower() for part in head[:1000].split(";"))
    if not comma:
        raise Refused(422, f"{name} is a data URL without a comma", hint="send data:image/png;base64,…")
    if "base64" not in parameters:
        what = f"{name} is a data URL that is not in base64"
        raise Refused(422, what, hint="send data:image/png;base64,…; percent-encoding is not taken")
    if kind and not kind.startswith(KINDS):
        raise Refused(422, f"{name} is a data URL of {kind[:50]!r}, which is no image", hint="send data:image/png;base64,…")
    return text


def _no_base64(name: str) -> Refused:
    return Refused(422, f"{name} is no base64", hint="send the file's bytes in base64, or data:image/png;base64,…")
