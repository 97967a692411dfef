"""One connection through the proxy, request by request."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, BinaryIO, Protocol

from bench.faults import Fault, Mode
from bench.http_frames import Head, answer_body, is_framed, read_head, request_body

#: SO_LINGER on, for zero seconds.
_LINGER = struct.pack("ii", 1, 0)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_ANSWER_503 = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN), _SLOW_DOWN)
)


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One HTTP request that came, whatever became of it. Times are of `time.monotonic`."""

    method: str
    path: str
    #: What `identify` made of the client's port; by default the port itself.
    client: Any
    began_at: float
    ended_at: float
    #: What the server answered; None if it was not asked, or did not answer.
    status: int | None
    #: Whether the client was sent all of an answer, the server's or the proxy's own.
    answered: bool


@dataclass(kw_only=True)
class _Course:
    """How an exchange goes."""

    method: str
    path: str
    began_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    answered: bool = False


class Passage(Protocol):
    """What a connection asks of the proxy it goes through; `bench.proxy.Proxy` is it."""

    def fault_for(self, method: str, path: str) -> Fault: ...
    def hold(self, fault: Fault) -> None: ...
    def pace(self, pieces: Iterable[bytes], fault: Fault) -> Iterator[bytes]: ...
    def dial(self, stack: ExitStack) -> socket.socket: ...


class HttpConnection:
    """Serves one client's connection; the one to the server is made at its first request."""

    def __init__(
        self, proxy: Passage, client: socket.socket, identity: Any, observe: Callable[[Exchange], None]
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._identity = identity
        self._observe = observe
        self._server: socket.socket | None = None
        self._answers: BinaryIO

    def serve(self, stack: ExitStack) -> None:
        """Pass requests on until either side ends. Raises OSError, EOFError or NotHttp."""
        requests = stack.enter_context(self._client.makefile("rb"))
        while (head := read_head(requests)) is not None:
            method, path = head.words[:2]
            course = _Course(method=method, path=path)
            try:
                goes_on = self._exchange(requests, head, course, stack)
            finally:
                self._tell(course)
            if not goes_on:
                return

    def _exchange(self, requests: BinaryIO, head: Head, course: _Course, stack: ExitStack) -> bool:
        """Carry one request out; returns whether the connection may carry another."""
        fault = self._proxy.fault_for(course.method, course.path)
        if fault.mode is Mode.HANG:
            self._proxy.hold(fault)
        if fault.mode is Mode.ANSWER_503:
            self._refuse(requests, head, course)
            return False
        self._forward(requests, head, fault, stack)
        answer = _final_head(self._answers)
        course.status = answer.status
        if fault.mode is Mode.SWALLOW_ANSWER:
            reset_when_closed(self._client)
            return False
        self._send(answer.encode(), answer_body(self._answers, answer, course.method), fault)
        course.answered = True
        return is_framed(answer, course.method) and "close" not in answer.header("connection")

    def _refuse(self, requests: BinaryIO, head: Head, course: _Course) -> None:
        if not head.header("expect"):
            # Closed with bytes unread, the connection would be reset and the answer lost.
            for _ in request_body(requests, head):
                pass
        self._client.sendall(_ANSWER_503)
        course.answered = True

    def _forward(self, requests: BinaryIO, head: Head, fault: Fault, stack: ExitStack) -> None:
        server = self._connected(stack)
        if head.header("expect"):
            self._client.sendall(_CONTINUE)
        body = request_body(requests, head)
        for part in self._proxy.pace(chain([head.without("expect").encode()], body), fault):
            server.sendall(part)

    def _send(self, head: bytes, body: Iterable[bytes], fault: Fault) -> None:
        for part in self._proxy.pace(chain([head], body), fault):
            self._client.sendall(part)

    def _connected(self, stack: ExitStack) -> socket.socket:
        """Return the connection to the server, a new one where the server has closed the old one."""
        if self._server is None or _is_stale(self._server):
            self._server = self._proxy.dial(stack)
            self._answers = stack.enter_context(self._server.makefile("rb"))
        return self._server

    def _tell(self, course: _Course) -> None:
        self._observe(
            Exchange(
                method=course.method,
                path=course.path,
                client=self._identity,
                began_at=course.began_at,
                ended_at=time.monotonic(),
                status=course.status,
                answered=course.answered,
            )
        )


def reset_when_closed(each: socket.socket) -> None:
    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def _final_head(answers: BinaryIO) -> Head:
    """Read an answer's head; interim ones, such as 100 Continue, are dropped."""
    while (head := read_head(answers)) is not None:
        if head.status >= 200:
            return head
    raise EOFError("The server closed the connection without an answer.")


def _is_stale(server: socket.socket) -> bool:
    """Return whether an idle connection has been closed, or holds bytes that nobody asked for."""
    try:
        server.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
