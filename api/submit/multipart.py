"""Parse `multipart/form-data` (RFC 7578) piece by piece.

The framework's own parser receives the whole form before a handler sees any of it. This one yields each
file as soon as it has arrived, so that it is stored while the next is read. It holds one file at a time.
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
#: Bytes of one header of a part. The longest path on Linux has 4096 bytes, or 12288 percent-encoded.
_MAX_HEADER = 16 * 2**10
#: RFC 2046, section 5.1.1, allows 70 characters; some clients write more.
_MAX_BOUNDARY = 200

#: Returns at most so many bytes of a body, and none at its end.
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
    """A part with a file name. The receiver closes the spool."""

    name: str
    file_name: str
    spool: Spool


FormPart = FormField | FormFile


@dataclass(frozen=True, kw_only=True)
class FormShape:
    """What a form may hold: the most bytes of each file and of each field, by part name."""

    files: Mapping[str, int]
    fields: Mapping[str, int]
    #: Whether files are hashed as they arrive.
    hashed: bool = False
    #: The most parts of any kind. Parts may be empty, so no limit on bytes bounds their number.
    parts: int = 2_000_000


def boundary_of(content_type: str | None) -> bytes:
    """Return the boundary named in a Content-Type.

    Raises MalformedForm if it names none that RFC 2046 allows.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not 0 < len(boundary) <= _MAX_BOUNDARY or not boundary.isascii():
        raise MalformedForm("The Content-Type of the form names no valid boundary.")
    return boundary.encode()


def parse_form(read: Read, boundary: bytes, shape: FormShape) -> Iterator[FormPart]:
    """Yield the parts of a form in the order in which they arrive.

    Raises MalformedForm for a body that is not a complete form, InvalidRequest for an unknown part or
    a field that is too long, and TooLarge for too many parts.
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
    # Latin-1 keeps every byte of a header as it is; `_names` decides what the bytes mean.
    parser = PushMultipartParser(boundary, header_charset="latin-1", max_header_size=_MAX_HEADER)
    try:
        yield from parser.parse_blocking(read, CHUNK)
    except MultipartError as exc:
        raise MalformedForm("The form ends too early or is not valid multipart/form-data.") from exc


def _names(part: MultipartSegment) -> dict[str, str]:
    """Return the `name` and `filename` of a part, without the client's escapes.

    Headers are UTF-8 (RFC 7578, section 5.1). Other bytes become U+FFFD, so that one bad name does not
    refuse an album. Browsers write a quote as %22, CR as %0D and LF as %0A (HTML standard,
    "multipart/form-data encoding algorithm"); any other % belongs to the name. The extended form,
    `filename*`, has no such escapes.
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
