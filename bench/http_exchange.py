"""Serve one HTTP connection through the proxy, request by request."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO

from bench.faults import Fault, Mode
from bench.http_frames import Head, is_framed, read_head, request_body, response_body

if TYPE_CHECKING:
    from bench.proxy import Proxy

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
    """One HTTP request and its outcome. Times are of `time.monotonic`."""

    method: str
    path: str
    #: What `identify` returned for the port of the client; by default the port itself.
    client: Any
    began_at: float
    ended_at: float
    #: The status of the server's response; None if the server was not asked or did not respond.
    status: int | None
    #: Whether the client got a whole response, from the server or from the proxy.
    answered: bool


@dataclass(kw_only=True)
class _ExchangeState:
    """The state of an exchange that is going on."""

    method: str
    path: str
    began_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    answered: bool = False


class HttpConnection:
    """Serves the connection of one client; connects to the server at the first request."""

    def __init__(
        self, proxy: Proxy, client: socket.socket, identity: Any, observe: Callable[[Exchange], None]
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._identity = identity
        self._observe = observe
        self._server: socket.socket | None = None
        self._responses: BinaryIO

    def serve(self, stack: ExitStack) -> None:
        """Forward requests until either side closes. Raises OSError, EOFError or NotHttp."""
        requests = stack.enter_context(self._client.makefile("rb"))
        while (head := read_head(requests)) is not None:
            method, path = head.words[:2]
            state = _ExchangeState(method=method, path=path)
            try:
                keep_alive = self._exchange(requests, head, state, stack)
            finally:
                self._report(state)
            if not keep_alive:
                return

    def _exchange(self, requests: BinaryIO, head: Head, state: _ExchangeState, stack: ExitStack) -> bool:
        """Serve one request; return whether the connection may serve another."""
        fault = self._proxy.fault_for(state.method, state.path)
        if fault.mode is Mode.HANG:
            self._proxy.hold(fault)
        if fault.mode is Mode.ANSWER_503:
            self._refuse(requests, head, state)
            return False
        self._forward(requests, head, fault, stack)
        response = _final_head(self._responses)
        state.status = response.status
        if fault.mode is Mode.DROP_RESPONSE:
            reset_when_closed(self._client)
            return False
        self._send(response.encode(), response_body(self._responses, response, state.method), fault)
        state.answered = True
        return is_framed(response, state.method) and "close" not in response.header("connection")

    def _refuse(self, requests: BinaryIO, head: Head, state: _ExchangeState) -> None:
        if not head.header("expect"):
            # Closing with unread bytes would reset the connection and lose the response.
            for _ in request_body(requests, head):
                pass
        self._client.sendall(_ANSWER_503)
        state.answered = True

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
        """Return the connection to the server, or a new one if the server has closed it."""
        if self._server is None or _is_stale(self._server):
            self._server = self._proxy.dial(stack)
            self._responses = stack.enter_context(self._server.makefile("rb"))
        return self._server

    def _report(self, state: _ExchangeState) -> None:
        self._observe(
            Exchange(
                method=state.method,
                path=state.path,
                client=self._identity,
                began_at=state.began_at,
                ended_at=time.monotonic(),
                status=state.status,
                answered=state.answered,
            )
        )


def reset_when_closed(each: socket.socket) -> None:
    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)


def _final_head(responses: BinaryIO) -> Head:
    """Read the head of a response; drop interim ones, such as 100 Continue."""
    while (head := read_head(responses)) is not None:
        if head.status >= 200:
            return head
    raise EOFError("The server closed the connection without a response.")


def _is_stale(server: socket.socket) -> bool:
    """Return whether an idle connection was closed, or has unexpected bytes."""
    try:
        server.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
