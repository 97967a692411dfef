"""Parse HTTP/1.1 messages only as far as needed to find their ends; their bytes stay unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: The longest line of a head, in bytes.
_LINE = 65536
_PIECE = 65536


class NotHttp(ValueError):
    """The bytes are not an HTTP/1.1 message."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The first line and the headers of a message, unchanged, with their line ends."""

    first: bytes
    lines: tuple[bytes, ...]

    @property
    def words(self) -> list[str]:
        """The parts of the first line: method, path and version, or version, status and reason."""
        return self.first.decode("latin-1").split(maxsplit=2)

    @property
    def status(self) -> int:
        """The status of a response."""
        return int(self.words[1])

    def header(self, name: str) -> str:
        """Return the value of a header in lower case, or an empty string."""
        for line in self.lines:
            key, _, value = line.partition(b":")
            if key.strip().lower() == name.encode():
                return value.strip().decode("latin-1").lower()
        return ""

    def without(self, name: str) -> Head:
        kept = [line for line in self.lines if line.partition(b":")[0].strip().lower() != name.encode()]
        return Head(first=self.first, lines=tuple(kept))

    def encode(self) -> bytes:
        return b"".join((self.first, *self.lines, b"\r\n"))


def read_head(stream: BinaryIO) -> Head | None:
    """Read a head up to its empty line; return None if the connection ends first. Raises NotHttp."""
    lines: list[bytes] = []
    while (line := stream.readline(_LINE)) not in (b"\r\n", b"\n"):
        if not line.endswith(b"\n"):
            return None
        lines.append(line)
    if not lines or len(lines[0].split()) < 2:
        raise NotHttp(repr(lines[:1]))
    return Head(first=lines[0], lines=tuple(lines[1:]))


def request_body(stream: BinaryIO, head: Head) -> Iterator[bytes]:
    """Yield the body of a request in pieces, including its chunked framing."""
    return _body(stream, head, until_end=False)


def response_body(stream: BinaryIO, head: Head, method: str) -> Iterator[bytes]:
    """Yield the body of the response to a `method` request in pieces."""
    if method == "HEAD" or head.status in (204, 304):
        return iter(())
    return _body(stream, head, until_end=True)


def is_framed(response: Head, method: str) -> bool:
    """Return whether the end of a response is known before its connection closes."""
    bodiless = method == "HEAD" or response.status in (204, 304)
    return bodiless or bool(response.header("transfer-encoding") or response.header("content-length"))


def _body(stream: BinaryIO, head: Head, *, until_end: bool) -> Iterator[bytes]:
    if "chunked" in head.header("transfer-encoding"):
        return _chunks(stream)
    if length := head.header("content-length"):
        return _exactly(stream, int(length))
    return iter(lambda: stream.read(_PIECE), b"") if until_end else iter(())


def _exactly(stream: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0:
        piece = stream.read(min(length, _PIECE))
        if not piece:
            raise EOFError("The connection ended inside a body.")
        length -= len(piece)
        yield piece


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    size = -1
    while size != 0:
        line = stream.readline(_LINE)
        yield line
        size = int(line.partition(b";")[0], 16)
        yield from _exactly(stream, size)
        # An empty line follows every chunk; trailers may precede the last one.
        while (line := stream.readline(_LINE)).strip():
            yield line
        yield line
