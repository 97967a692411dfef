"""Speak the protocol of Valkey (RESP2) over a plain socket.

A checker of the job store must not use the code that it checks: no client library, no scripts, no retries.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from shared.errors import FathomError


class RespError(FathomError):
    """The server answered with an error."""

    code = "resp_error"


class Resp:
    """One connection to a server, for one thread. A context manager."""

    def __init__(self, url: str, *, timeout: float | None = 10.0) -> None:
        """Connect to `redis://[:password@]host:port/db`. Raises OSError and RespError, like every call."""
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port or 6379), timeout=timeout)
        self._stream = self._socket.makefile("rb")
        if parts.password:
            self.call("AUTH", unquote(parts.password))
        if (database := parts.path.strip("/")) not in ("", "0"):
            self.call("SELECT", database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with closing(self._socket), closing(self._stream):
            pass

    def interrupt(self) -> None:
        """End a call that waits in another thread; the call raises."""
        self._socket.shutdown(socket.SHUT_RDWR)

    def call(self, *words: str | int | bytes) -> Any:
        """Send one command and return its answer: None, int, bytes, or a list of them."""
        self._socket.sendall(_encode(words))
        return self._read()

    def pipeline(self, commands: Iterable[tuple[str | int | bytes, ...]]) -> list[Any]:
        """Send commands at once and return their answers in order."""
        encoded = [_encode(words) for words in commands]
        self._socket.sendall(b"".join(encoded))
        return [self._read() for _ in encoded]

    def monitor(self) -> Iterator[bytes]:
        """Yield every command that the server executes from now on, also inside scripts."""
        self.call("MONITOR")
        return iter(self._stream.readline, b"")

    def _read(self) -> Any:
        line = self._stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("The server closed the connection.")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise RespError(rest.decode(errors="replace"))
        number = int(rest)
        if kind == b":":
            return number
        if kind == b"$":
            return None if number < 0 else self._stream.read(number + 2)[:-2]
        if kind == b"*":
            return None if number < 0 else [self._read() for _ in range(number)]
        raise RespError(f"The answer is not RESP2: {line!r}")


def _encode(words: Iterable[str | int | bytes]) -> bytes:
    data = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(data) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in data)
