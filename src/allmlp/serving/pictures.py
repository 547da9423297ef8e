"""The body of a request → the picture files in it."""

import json
import logging
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from allmlp.serving.base64_text import from_base64
from allmlp.serving.refused import Refused

FIELD = "images"
logging.getLogger("python_multipart").addHandler(logging.NullHandler())  # whoever sends nonsense is told, not our stderr
HOW = 'send multipart/form-data with files named "images", or JSON: {"images": ["BASE64", …]}'


@dataclass(frozen=True)
class Upload:
    """One picture as it came."""

    name: str
    """What to call it in an error: images[0]."""
    content: bytes


def pictures_of(content_type: str, body: bytes, *, most: int) -> list[Upload]:
    """At least one. Raises Refused for any other type, for a body that is cut short or not understood, for too many."""
    kind, options = parse_options_header(content_type)
    if kind == b"multipart/form-data":
        found = _multipart(body, options.get(b"boundary", b""), most)
    elif kind == b"application/json":
        found = _json(body, most)
    else:
        what = f"the content type is {content_type[:100]!r}" if content_type else "there is no content type"
        raise Refused(415, what, hint=HOW)
    if not found:
        raise Refused(400, "there is no picture in the request", hint=HOW)
    return [Upload(f"images[{number}]", content) for number, content in enumerate(found)]


def _too_many(most: int) -> Refused:
    return Refused(413, f"there are more than {most} pictures in the request", hint="send them in several requests")


def _json(body: bytes, most: int) -> list[bytes]:
    if (
        body.count(b",") >= 2 * most
    ):  # base64 has none, a data URL one; millions of values take twenty times their text's memory
        raise _too_many(most)
    try:
        said: Any = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is no JSON: {str(error)[:100]}", hint=HOW) from None
    if not isinstance(said, dict) or set(said) != {FIELD} or not isinstance(said[FIELD], list):
        raise Refused(422, 'the JSON is not of the form {"images": [...]}', hint=HOW)
    if len(said[FIELD]) > most:
        raise _too_many(most)
    return [_plain(text, number) for number, text in enumerate(said[FIELD])]


def _plain(text: Any, number: int) -> bytes:
    name = f"images[{number}]"
    if not isinstance(text, str):
        raise Refused(422, f"{name} is no text", hint=HOW)
    return from_base64(text, name)


def _multipart(body: bytes, boundary: bytes, most: int) -> list[bytes]:
    form = _Form(most)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise Refused(400, f"the multipart body is not understood: {str(error)[:100]}", hint=HOW) from None
    if not form.whole:
        raise Refused(400, "the multipart body ends before its last boundary", hint="send it whole")
    return [bytes(content) for content in form.files]


class _Form:
    """What python-multipart tells as it reads."""

    def __init__(self, most: int) -> None:
        self.most, self.whole = most, False
        self.files: list[bytearray] = []
        self.header, self.value, self.field = bytearray(), bytearray(), ""

    def callbacks(self) -> Any:  # a typed dictionary of the library's
        names = "on_part_begin on_part_data on_header_field on_header_value on_header_end on_headers_finished on_end"
        return {name: getattr(self, name) for name in names.split()}

    def on_part_begin(self) -> None:
        self.field = ""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self.value))
            self.field = options.get(b"name", b"").decode("utf-8", "replace")
        self.header.clear()
        self.value.clear()

    def on_headers_finished(self) -> None:
        if self.field != FIELD:
            raise Refused(422, f"a part of the form is named {self.field[:50]!r}", hint=HOW)
        if len(self.files) == self.most:
            raise _too_many(self.most)
        self.files.append(bytearray())

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.files[-1] += data[start:end]

    def on_end(self) -> None:
        self.whole = True
