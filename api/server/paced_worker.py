"""A gunicorn worker that gives its threads only to clients that send something, and fast enough.

Gunicorn's own `gthread` blocks a thread for every connection, and lets a client send its header and body
as slowly as it likes, as long as it never falls silent: a few dozen clients that send a byte a minute
could hold every thread. Here a connection gets a thread once its request begins to arrive, and from then
on it must keep up a pace, as with Apache's mod_reqtimeout.

Gunicorn also closes connections in its main thread, where each client that does not close its own end
costs two seconds. Here other threads wait for those clients.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from gunicorn import http
from gunicorn.http.errors import NoMoreData
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from api.server import gunicorn_conf

#: Seconds that a thread waits for the first byte of a connection. After that the poller waits.
_FIRST_BYTE = 0.02
#: Threads that wait for clients to close their ends.
_CLOSERS = 16


class PacedSocket:
    """A socket from which a request must arrive at a pace.

    The server waits `grace` seconds for a whole request, plus one second for every `pace` bytes received,
    and at most `silence` seconds at a time. Time that the server itself takes does not count.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        grace: float,
        pace: float,
        silence: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sock = sock
        self._clock = clock
        self._grace = grace
        self._pace = pace
        self._silence = silence
        self.begin()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def begin(self) -> None:
        """Begin a new request with the full `grace`."""
        self._left = self._grace

    def recv(self, size: int) -> bytes:
        """Receive as a socket does. Raises NoMoreData once the time is up."""
        if self._left <= 0:
            raise NoMoreData
        # Gunicorn sets a limit of its own while it discards the unread rest of a body.
        own, began = self._sock.gettimeout(), self._clock()
        self._sock.settimeout(min(self._left, self._silence, self._silence if own is None else own))
        try:
            data = self._sock.recv(size)
        except TimeoutError as exc:
            self._left = 0.0
            raise NoMoreData from exc
        finally:
            # The listener's own setting bounds how long sending an answer may take.
            self._sock.settimeout(own)
        self._left += len(data) / self._pace - (self._clock() - began)
        return data


class PacedThreadWorker(ThreadWorker):  # type: ignore[misc]  # Gunicorn ships no types.
    """`gthread` whose clients must keep up a pace and cannot delay each other."""

    def init_process(self) -> None:
        self._closers = ThreadPoolExecutor(_CLOSERS, thread_name_prefix="close")
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """Handle a request; if none has begun to arrive, give the connection back to the poller."""
        if not conn.initialized and not conn.wait_for_data(_FIRST_BYTE):
            return _DEFER
        if conn.parser is None and not self.cfg.is_ssl:
            conn.parser = http.get_parser(self.cfg, _paced(conn.sock), conn.client)
        source = getattr(getattr(conn.parser, "unreader", None), "sock", None)
        if isinstance(source, PacedSocket):
            source.begin()
        return super().handle(conn)

    def finish_request(self, conn: Any, fs: Future[Any]) -> None:
        """Keep a connection, or let another thread close it."""
        if fs.cancelled() or fs.exception() is not None or fs.result():
            super().finish_request(conn, fs)
            return
        closing = self._closers.submit(conn.close, graceful=True)
        closing.add_done_callback(lambda _: self.method_queue.defer(self._count_out))

    def _count_out(self) -> None:
        self.nr_conns -= 1


def _paced(sock: socket.socket) -> PacedSocket:
    return PacedSocket(
        sock, grace=gunicorn_conf.GRACE, pace=gunicorn_conf.PACE, silence=gunicorn_conf.SILENCE
    )
