"""A TCP proxy that injects faults into the traffic to a server and reports every exchange.

    with Proxy(("127.0.0.1", 8333)) as proxy:
        use(proxy.url)
        proxy.set(Mode.ANSWER_503)                                # every request
        proxy.set(Mode.DROP_RESPONSE, methods={"PUT"}, times=1)  # one lost response
        proxy.set(Mode.SLOW, latency=0.2, bytes_per_second=10_000)
        proxy.set(Mode.PASS)

The mode can change at any time, also for open connections. With `http=False`, as for Valkey, the proxy does
not parse the bytes, so no fault can select requests.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any, Self, TypedDict, Unpack

from bench.faults import PASS, Fault, Mode
from bench.http_exchange import Exchange, HttpConnection, reset_when_closed
from fathom.stack.servers import free_ports

HOST = "127.0.0.1"
_PIECE = 65536
#: Seconds within which a connection to the server must open.
_DIAL_SECONDS = 10.0
#: Seconds between a failed `accept` and the next attempt.
_ACCEPT_PAUSE = 0.01


class Selection(TypedDict, total=False):
    """The fields of `Fault` that `Proxy.set` takes besides the mode and the methods."""

    path: str
    times: int
    latency: float
    bytes_per_second: float


class Proxy:
    """Listens on its own port inside its `with` block; its threads and sockets end with the block."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        http: bool = True,
        observe: Callable[[Exchange], None] = lambda exchange: None,
        identify: Callable[[int], Any] = lambda port: port,
    ) -> None:
        """Forward to `target`, and call `observe` for every HTTP exchange, in the thread of the connection.

        `identify` is called once for every HTTP connection, with the port of the client.
        """
        self._target = target
        self._http = http
        self._observe = observe
        self._identify = identify
        self._listener, self.port = _bind()
        #: Guards the fields below, and wakes threads that wait for a change.
        self._changed = threading.Condition()
        self._fault = PASS
        self._left: int | None = None
        self._closing = False
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._listener.listen()
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            for each in (self._listener, *self._sockets):
                _shutdown(each, socket.SHUT_RDWR)
        while threads := self._running():
            for thread in threads:
                thread.join()
        self._listener.close()

    def set(self, mode: Mode, *, methods: Iterable[str] = (), **selection: Unpack[Selection]) -> None:
        """Set the fault for all traffic from now on. Raises ValueError for an impossible fault."""
        fault = Fault(mode=mode, methods=frozenset(methods), **selection)
        if fault.selects and (not self._http or mode is Mode.REFUSE):
            raise ValueError("Only HTTP requests can be selected, and not if connections are refused.")
        if mode is Mode.ANSWER_503 and not self._http:
            raise ValueError("Only an HTTP request can be answered 503.")
        with self._changed:
            was, self._fault, self._left = self._fault, fault, fault.times
            self._refuse(was=was.mode is Mode.REFUSE, now=mode is Mode.REFUSE)
            self._changed.notify_all()

    # --- called by connections ---

    def fault_for(self, method: str, path: str) -> Fault:
        """Return the fault for a new request, which counts as one of the `times` of the fault.

        Raises EOFError while the proxy refuses: bytes may arrive on a connection that is being reset.
        """
        with self._changed:
            fault = self._fault
            if fault.mode is Mode.REFUSE:
                raise EOFError("The proxy refuses connections.")
            if not fault.applies_to(method, path) or self._left == 0:
                return PASS
            if self._left is not None:
                self._left -= 1
            return fault

    def dial(self, stack: ExitStack) -> socket.socket:
        """Connect to the server; `stack` closes the connection."""
        server = socket.create_connection(self._target, timeout=_DIAL_SECONDS)
        server.settimeout(None)
        self._register(server, stack)
        return server

    def pace(self, pieces: Iterable[bytes], fault: Fault) -> Iterator[bytes]:
        """Yield bytes at the speed of `fault`, and none while the proxy hangs.

        Raises EOFError when the proxy is closed.
        """
        if fault.mode is Mode.SLOW:
            self._sleep(fault.latency)
        for piece in pieces:
            for part in _split(piece, fault):
                if fault.mode is Mode.SLOW and fault.bytes_per_second:
                    self._sleep(len(part) / fault.bytes_per_second)
                self._await(lambda: self._fault.mode is not Mode.HANG or self._fault.selects)
                yield part

    def hold(self, fault: Fault) -> None:
        """Wait until `fault`, a hang, is over. Raises EOFError when the proxy is closed."""
        self._await(lambda: self._fault is not fault)

    # --- connections ---

    def _refuse(self, *, was: bool, now: bool) -> None:
        if now and not was:
            # The socket keeps its port: it refuses connections now, and can listen again later.
            _shutdown(self._listener, socket.SHUT_RDWR)
            for each in self._sockets:
                reset_when_closed(each)
                _shutdown(each, socket.SHUT_RD)
        elif was and not now:
            self._listener.listen()

    def _accept(self) -> None:
        with suppress(EOFError):
            while True:
                self._await(lambda: self._fault.mode is not Mode.REFUSE)
                try:
                    client, (_, port) = self._listener.accept()
                except OSError:
                    # The socket no longer listens, or the process has no file descriptor left.
                    self._sleep(_ACCEPT_PAUSE)
                else:
                    self._spawn(self._connect, client, port)

    def _connect(self, client: socket.socket, port: int) -> None:
        with ExitStack() as stack, suppress(OSError, EOFError, ValueError):
            self._register(client, stack)
            if self._http:
                HttpConnection(self, client, self._identify(port), self._observe).serve(stack)
            else:
                self._pass_bytes(client, stack)

    def _pass_bytes(self, client: socket.socket, stack: ExitStack) -> None:
        server = self.dial(stack)
        upstream = self._spawn(self._pump, client, server, False)
        self._pump(server, client, True)
        upstream.join()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError, EOFError):
            while piece := source.recv(_PIECE):
                fault = self.fault_for("", "")
                if answers and fault.mode is Mode.DROP_RESPONSE:
                    reset_when_closed(sink)
                    _shutdown(sink, socket.SHUT_RD)
                    return
                for part in self.pace([piece], fault):
                    sink.sendall(part)
        _shutdown(sink, socket.SHUT_WR)

    def _register(self, each: socket.socket, stack: ExitStack) -> None:
        """Close a socket when `stack` ends, and let `set` and `__exit__` reach it until then."""
        stack.enter_context(closing(each))
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._changed:
            self._sockets.add(each)
            if self._closing or self._fault.mode is Mode.REFUSE:
                reset_when_closed(each)
                _shutdown(each, socket.SHUT_RD)
        stack.callback(self._forget, each)

    def _forget(self, each: socket.socket) -> None:
        with self._changed:
            self._sockets.discard(each)

    # --- threads ---

    def _spawn(self, run: Callable[..., None], *args: Any) -> threading.Thread:
        def body() -> None:
            try:
                run(*args)
            finally:
                with self._changed:
                    self._threads.discard(thread)

        thread = threading.Thread(target=body, name=f"proxy-{self.port}", daemon=True)
        with self._changed:
            self._threads.add(thread)
            # Start it inside the lock, because `__exit__` joins every thread in the set.
            thread.start()
        return thread

    def _running(self) -> list[threading.Thread]:
        with self._changed:
            return list(self._threads)

    def _await(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing or condition())
            if self._closing:
                raise EOFError("The proxy is closed.")

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            if self._changed.wait_for(lambda: self._closing, seconds):
                raise EOFError("The proxy is closed.")


def _bind() -> tuple[socket.socket, int]:
    """Return a socket bound to a reserved port, which stays its own even while it does not listen."""
    (port,) = free_ports(1)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    return listener, port


def _shutdown(each: socket.socket, how: int) -> None:
    # The other end may have closed it already.
    with suppress(OSError):
        each.shutdown(how)


def _split(piece: bytes, fault: Fault) -> Iterator[bytes]:
    """Split a piece so that a slow connection sends ten parts per second."""
    rate = fault.bytes_per_second if fault.mode is Mode.SLOW else None
    step = max(1, int(rate / 10)) if rate else max(1, len(piece))
    for start in range(0, len(piece), step):
        yield piece[start : start + step]
