"""Download one large file over HTTP, so that an interrupted download is continued and not repeated.

What has arrived lies in a part file, and which version of which file it belongs to, in a JSON file beside
it. The next download asks for the rest of that version alone (RFC 9110: Range in section 14.2, If-Range in
13.1.5, 206 in 15.3.7, 416 in 15.5.17), and begins anew where the server has another one or knows no ranges.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from shared.errors import ModelError, WeightsUnavailable
from shared.net.loopback import is_loopback

#: Called with the bytes received, those of an earlier download included, and, where the server says so, the
#: bytes in all. Both fall back if a download begins anew.
Progress = Callable[[int, int | None], None]

#: Connections that one download makes at most; each but the last has brought some bytes and was lost.
CONNECTIONS = 5

_FULL, _REST, _NO_SUCH_RANGE = 200, 206, 416
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_LENGTH = re.compile(r"bytes \*/(\d+)")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which version of which file the bytes of a part belong to."""

    url: str
    #: A strong ETag, or else the time of the last change: what If-Range takes. Empty if there is none.
    validator: str

    @classmethod
    def of(cls, url: str, response: httpx.Response) -> Source:
        """Return the source of a response. Ranges of encoded bytes would not fit those that are kept."""
        etag, changed = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
        validator = etag if etag.startswith('"') else changed
        usable = validator.isascii() and "Content-Encoding" not in response.headers
        return cls(url=url, validator=validator if usable else "")


class Part:
    """What has arrived of a file: its bytes at `path`, and their source beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path.with_name(f"{path.name}.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self, url: str) -> str:
        """Return what identifies the version of `url` that this part can be continued with, or nothing."""
        try:
            source = Source(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return ""
        return source.validator if source.url == url and self.size else ""

    def begin(self, source: Source) -> None:
        """Make the part empty, of another source. At no moment do old bytes lie beside a new source."""
        self.discard()
        self._note.write_text(json.dumps(asdict(source)))

    def discard(self) -> None:
        """Delete the part, if there is one."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


@contextlib.contextmanager
def kept_if_continuable(part: Part, url: str) -> Iterator[None]:
    """Delete the part if the block fails or is interrupted, unless a later download can continue it."""
    try:
        yield
    except BaseException:
        if not part.validator(url):
            part.discard()
        raise


def download(url: str, part: Part, *, timeout: float, progress: Progress, most_bytes: int) -> None:
    """Complete `part` with the bytes of `url`, and bring them onto the disk.

    A connection that is lost after it brought some bytes is replaced by another, which continues there, up
    to `CONNECTIONS` in all. `timeout` is in seconds: until a response begins, and between two pieces of it.
    Raises WeightsUnavailable if the server cannot be reached, refuses, or lets the download break off, and
    ModelError, with an empty part, if the file has more than `most_bytes`.
    """
    with _client(url, timeout) as client:
        connection = _Connection(
            client=client,
            url=url,
            part=part,
            timeout=timeout,
            progress=progress,
            most_bytes=most_bytes,
        )
        for left in reversed(range(CONNECTIONS)):
            try:
                connection.complete_part()
            except httpx.HTTPError as exc:
                lost = isinstance(exc, httpx.TransportError) and connection.received > 0
                if not (left and lost and part.validator(url)):
                    raise WeightsUnavailable(f"The download from {url} broke off: {_reason(exc)}.") from exc
            else:
                return


@dataclass(kw_only=True)
class _Connection:
    """Requests a file, or the rest of it, and writes what comes."""

    client: httpx.Client
    url: str
    part: Part
    timeout: float
    progress: Progress
    most_bytes: int
    #: Bytes that the latest request brought.
    received: int = 0

    def complete_part(self) -> None:
        """Request what the part lacks. Raises httpx.HTTPError if that does not bring all of it."""
        self.received = 0
        if not self._continue_part():
            with contextlib.closing(self._ask({})) as response:
                self._receive(response)

    def _continue_part(self) -> bool:
        """Request the rest, and return whether what came fits the part, which is emptied otherwise."""
        validator = self.part.validator(self.url)
        if not validator:
            return False
        size = self.part.size
        headers = {"Range": f"bytes={size}-", "If-Range": validator}
        with contextlib.closing(self._ask(headers)) as response:
            if _fits(response, size, validator):
                self._receive(response)
                return True
        self.part.discard()
        return False

    def _ask(self, headers: dict[str, str]) -> httpx.Response:
        # Ranges count the bytes as they are sent: they must be those of the file.
        request = self.client.build_request(
            "GET", self.url, headers={"Accept-Encoding": "identity", **headers}
        )
        return _answer(self.client, request, self.timeout)

    def _receive(self, response: httpx.Response) -> None:
        if response.status_code == _NO_SUCH_RANGE and self.part.size:
            # There is no rest: the part was complete.
            return
        response.raise_for_status()
        if response.status_code != _REST:
            self.part.begin(Source.of(self.url, response))
        total = _total(response, self.part.size)
        done = self._write(response, total)
        if total is not None and done < total:
            raise httpx.RemoteProtocolError(f"{done} of {total} bytes were sent")

    def _write(self, response: httpx.Response, total: int | None) -> int:
        """Append the body to the part, and return how many bytes that has then."""
        done = self.part.size
        with self.part.path.open("ab") as file:
            for piece in response.iter_bytes():
                done += len(piece)
                if done > self.most_bytes:
                    self._refuse(response)
                file.write(piece)
                self.received += len(piece)
                self.progress(done, total)
            file.flush()
            os.fsync(file.fileno())
        return done

    def _refuse(self, response: httpx.Response) -> None:
        self.part.discard()
        most = self.most_bytes // 2**20
        raise ModelError(f"{response.url} sends more than {most} MB: that is no checkpoint.")


def _fits(response: httpx.Response, size: int, validator: str) -> bool:
    """Return whether a part of this many bytes can take the response to a request for the rest.

    The whole file, or an error, is a response like any other.
    """
    if response.status_code == _NO_SUCH_RANGE:
        length = _LENGTH.fullmatch(response.headers.get("Content-Range", ""))
        return length is not None and int(length[1]) == size
    if response.status_code != _REST:
        return True
    sent = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    version = {response.headers.get(name) for name in ("ETag", "Last-Modified")} - {None}
    return sent is not None and int(sent[1]) == size and (not version or validator in version)


def _total(response: httpx.Response, done: int) -> int | None:
    """Return the bytes that the file has in all, if the server says so."""
    if sent := _RANGE.fullmatch(response.headers.get("Content-Range", "")):
        return None if sent[2] == "*" else int(sent[2])
    length = response.headers.get("Content-Length", "")
    encoded = "Content-Encoding" in response.headers
    return done + int(length) if length.isdecimal() and not encoded else None


def _client(url: str, timeout: float) -> httpx.Client:
    try:
        # No proxy of the environment reaches a server on this machine.
        return httpx.Client(
            timeout=timeout,
            follow_redirects=True,
            trust_env=not is_loopback(url),
            # A connection that the server is about to close would lose the next request.
            limits=httpx.Limits(max_keepalive_connections=0),
        )
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        reason = "the proxy that the environment names is of a kind that cannot be used"
        raise WeightsUnavailable(f"{url} cannot be reached: {reason}.") from exc


def _answer(client: httpx.Client, request: httpx.Request, timeout: float) -> httpx.Response:
    """Return the response with its body unread, or give up after `timeout` seconds in all.

    A thread waits for it, because httpx limits each step alone and the name lookup not at all, which may
    take half a minute without a network.
    """
    answers: queue.Queue[httpx.Response | Exception] = queue.Queue()

    def ask() -> None:
        try:
            answers.put(client.send(request, stream=True))
        except Exception as exc:
            # Every error goes to the caller, whose thread waits for it.
            answers.put(exc)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty as exc:
        raise WeightsUnavailable(f"No answer from {request.url} within {timeout:g} seconds.") from exc
    if isinstance(answer, httpx.HTTPError):
        raise WeightsUnavailable(f"{request.url} cannot be reached: {_reason(answer)}.") from answer
    if isinstance(answer, Exception):
        raise answer
    return answer


def _reason(exc: httpx.HTTPError) -> str:
    if isinstance(exc, httpx.HTTPStatusError):
        return f"the server answered {exc.response.status_code}"
    if isinstance(exc, httpx.TimeoutException):
        return "the server stopped answering"
    return str(exc) or type(exc).__name__
