"""A file on a server that knows ranges (RFC 9110, section 14), and loses connections where a test says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.origins import Origin, Request, answer


@dataclass
class RangedFile:
    """Responses for one path: the file, the rest of it, or 416, as `Range` and `If-Range` ask."""

    data: bytes
    #: An ETag and the time of the last change; None leaves out the header.
    etag: str | None = '"one"'
    changed: str | None = None
    #: For each response in turn, after how many bytes of the body the connection is lost.
    cuts: list[int] = field(default_factory=list)
    #: If this is given, a cut connection is not lost but silent, until it is set.
    silent_until: threading.Event | None = None
    #: Whole responses to send first.
    odd: list[bytes] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def at(self, server: Origin, path: str = "/midas_v21_small_256.pt") -> str:
        """Serve the file, and return its URL."""
        return server.respond(path, self._respond)

    @property
    def ranges(self) -> list[tuple[str | None, str | None]]:
        """`Range` and `If-Range` of every request so far."""
        return [(request.headers.get("range"), request.headers.get("if-range")) for request in self.requests]

    def _respond(self, request: Request) -> Iterator[bytes]:
        self.requests.append(request)
        if self.odd:
            yield self.odd.pop(0)
            return
        start = self._start(request)
        if start >= len(self.data):
            yield answer("416 Range Not Satisfiable", Content_Range=f"bytes */{len(self.data)}")
            return
        response = self.response(start) if start else answer("200 OK", self.data, **self._headers())
        head, _, body = response.partition(b"\r\n\r\n")
        cut = self.cuts.pop(0) if self.cuts else len(body)
        yield head + b"\r\n\r\n" + body[:cut]
        if cut < len(body) and self.silent_until:
            self.silent_until.wait()

    def _start(self, request: Request) -> int:
        """Return where the wanted range starts; 0 for the whole file, also if it is of another version."""
        wanted, version = request.headers.get("range"), request.headers.get("if-range")
        if wanted is None or version not in (None, self.etag, self.changed):
            return 0
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def response(self, start: int, end: int | None = None, **headers: str) -> bytes:
        """Return a 206 with the bytes from `start` up to `end`."""
        body = self.data[start:end]
        spread = f"bytes {start}-{start + len(body) - 1}/{len(self.data)}"
        return answer("206 Partial Content", body, **{"Content_Range": spread, **self._headers(), **headers})

    def _headers(self) -> dict[str, str]:
        versions = {"ETag": self.etag, "Last_Modified": self.changed}
        return {"Connection": "close"} | {name: value for name, value in versions.items() if value}
