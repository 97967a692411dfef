"""Reading `multipart/form-data` (RFC 7578) piece by piece.

The framework's own form parser takes in the whole form before a handler sees any of
it. Here each file is handed over as soon as it is there, and the next one is read
while it is being stored; no more than one file is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from multipart import MultipartError, MultipartSegment, PushMultipartParser
from werkzeug.http import parse_options_header

from api.middleware.errors import InvalidRequest
from api.submit.spool import Spool
from shared.errors import TooLarge

#: Bytes read from the client at once.
CHUNK = 256 * 2**10
#: Bytes of one header of a part; the longest path on Linux has 4096, percent-encoded three times that.
_MAX_HEADER = 16 * 2**10
#: RFC 2046, section 5.1.1, allows 70 characters; there are clients that write a few more.
_MAX_BOUNDARY = 200

#: Returns so many bytes of a body at most, none at its end.
Read: TypeAlias = Callable[[int], bytes]
#: A part's headers, pieces of its content, and None at its end.
Event: TypeAlias = MultipartSegment | bytes | None


class MalformedForm(InvalidRequest):
    """The form is not valid multipart/form-data."""

    code = "malformed_form"


@dataclass(frozen=True, kw_only=True)
class FormField:
    """A part without a file name."""

    name: str
    value: bytes


@dataclass(frozen=True, kw_only=True)
class FormFile:
    """A part with a file name; whoever receives it closes the spool."""

    name: str
    file_name: str
    spool: Spool


FormPart = FormField | FormFile


@dataclass(frozen=True, kw_only=True)
class FormShape:
    """What a form may hold: bytes at most by part name, for files and for fields."""

    files: Mapping[str, int]
    fields: Mapping[str, int]
    #: Whether the content of files is hashed as it comes.
    hashed: bool = False
    #: Parts of any kind; most parts of a form may be empty, and are then nothing but work.
    parts: int = 2_000_000


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary named in a Content-Type.

    Raises MalformedForm if there is none that RFC 2046 allows.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise MalformedForm("The Content-Type of the form names no valid boundary.")
    return boundary.encode()


def parse_form(read: Read, boundary: bytes, shape: FormShape) -> Iterator[FormPart]:
    """Yield the parts of a form in the order they come.

    Raises MalformedForm for a body that is no complete form, InvalidRequest for a part
    that the shape does not know or a field that is too long, and TooLarge for too many parts.
    """
    events, parts = _events(read, boundary), 0
    for event in events:
        if isinstance(event, MultipartSegment):
            parts += 1
            if parts > shape.parts:
                raise TooLarge(f"A form holds at most {shape.parts} parts.")
            names = _names(event)
            if "filename" in names:
                yield _read_file(names, events, shape)
            else:
                yield _read_field(names, events, shape)


def _events(read: Read, boundary: bytes) -> Iterator[Event]:
    # Latin-1 keeps every byte of a header as it is; what the bytes mean is decided below.
    parser = PushMultipartParser(boundary, header_charset="latin-1", max_header_size=_MAX_HEADER)
    try:
        yield from parser.parse_blocking(read, CHUNK)
    except MultipartError as exc:
        raise MalformedForm("The form ends too early or is not valid multipart/form-data.") from exc


def _names(part: MultipartSegment) -> dict[str, str]:
    """Return the `name` and `filename` of a part as they were before the client escaped them.

    Headers are UTF-8 (RFC 7578, section 5.1); other bytes become U+FFFD, and the album is kept.
    Browsers write a quote as %22, CR as %0D and LF as %0A, and nothing else (HTML standard,
    "multipart/form-data encoding algorithm"): any other % is the name's own. The
    extended form, `filename*`, has no such escapes.
    """
    raw: str = part["Content-Disposition"]
    header = raw.encode("latin-1").decode(errors="replace")
    names = parse_options_header(header)[1]
    if "filename" in names and "filename*" not in header.lower():
        names["filename"] = names["filename"].replace("%0D", "\r").replace("%0A", "\n")
    return names


def _read_file(names: Mapping[str, str], events: Iterator[Event], shape: FormShape) -> FormFile:
    name = _known(names, shape)
    if name not in shape.files:
        raise InvalidRequest(f"The part {name!r} must be a field, not a file.")
    spool = Spool(cap=shape.files[name], hashed=shape.hashed)
    try:
        spool.fill(_content(events))
    except BaseException:
        spool.close()
        raise
    return FormFile(name=name, file_name=names["filename"], spool=spool)


def _read_field(names: Mapping[str, str], events: Iterator[Event], shape: FormShape) -> FormField:
    name = _known(names, shape)
    if name not in shape.fields:
        raise InvalidRequest(f"The part {name!r} must be a file, with a file name.")
    value = bytearray()
    for piece in _content(events):
        value += piece
        if len(value) > shape.fields[name]:
            raise InvalidRequest(f"The part {name!r} is longer than {shape.fields[name]} bytes.")
    return FormField(name=name, value=bytes(value))


def _known(names: Mapping[str, str], shape: FormShape) -> str:
    name = names.get("name")
    if not name:
        raise MalformedForm("A part of the form has no name.")
    known = sorted({*shape.files, *shape.fields})
    if name not in known:
        raise InvalidRequest(f"The form has no part {name[:100]!r}; it takes {', '.join(known)}.")
    return name


def _content(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if not isinstance(event, bytes):
            return
        yield event
