"""Observe a stack from outside while it is attacked."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from bench.chaos.observations import Cause, Fetched, Image, InjectedFault, Recorded, Stored
from bench.http_exchange import Exchange
from bench.resp import Resp, RespError

_PATH = re.compile(r"/jobs/([a-z2-7]{26})/(inputs|outputs)/(\d+)(?:/depth\.json)?(?:\?|\Z)")
#: How MONITOR shows that a script sets the bit of an outcome.
_SETBIT = re.compile(
    rb'\+(\d+\.\d+) \[\d+ lua\] "SETBIT" "\{fathom\}:job:([a-z2-7]{26}):(ok|bad)" "(\d+)" "1"'
)
#: Seconds between attempts to connect to a Valkey that is down.
_PAUSE = 0.02


class Observer:
    """Notes requests to S3 and bits that Valkey sets. Several threads append to its lists."""

    def __init__(self) -> None:
        self.fetched: list[Fetched] = []
        self.stored: list[Stored] = []
        self.recorded: list[Recorded] = []
        self.faults: list[InjectedFault] = []
        #: Requests to which the proxy answered 503: when they came, and from which process.
        self.answered_503: list[tuple[float, int | None]] = []
        self._images_stored: set[Image] = set()
        self._readers: set[int | None] = set()
        self._closing = False
        self._resp: Resp | None = None

    def note_request(self, exchange: Exchange) -> None:
        """Note a request to S3; the proxy calls this."""
        if exchange.status is None and exchange.answered:
            self.answered_503.append((exchange.began_at, exchange.client))
        match = _PATH.search(exchange.path)
        if match is None or exchange.status not in (200, 206):
            return
        image = (match[1], int(match[3]))
        if exchange.method == "GET" and match[2] == "inputs":
            self.fetched.append(Fetched(at=exchange.began_at, image=image, pid=exchange.client))
            self._readers.add(exchange.client)
        elif exchange.method == "PUT" and match[0].rstrip("?").endswith("/depth.json"):
            self._store(exchange, image)

    def _store(self, exchange: Exchange, image: Image) -> None:
        self.stored.append(
            Stored(at=exchange.ended_at, image=image, pid=exchange.client, answered=exchange.answered)
        )
        self._images_stored.add(image)

    def images_stored(self) -> int:
        """Return how many different images have been stored."""
        return len(self._images_stored)

    def has_worked(self, pid: int) -> bool:
        """Return whether a process has fetched a photo."""
        return pid in self._readers

    def note_fault(self, cause: Cause, began_at: float, pids: Iterable[int] = ()) -> None:
        """Note a fault that began at `began_at` and ends now."""
        now = time.monotonic()
        self.faults.append(InjectedFault(cause=cause, began_at=began_at, ended_at=now, pids=frozenset(pids)))

    @contextmanager
    def monitoring(self, url: str) -> Iterator[None]:
        """Note what the Valkey at `url` records while the block runs, across its restarts."""
        watched = threading.Event()
        thread = threading.Thread(target=self._monitor, args=(url, watched), name="observer", daemon=True)
        thread.start()
        watched.wait(10.0)
        try:
            yield
        finally:
            self._closing = True
            with suppress(OSError, AttributeError):
                self._resp.interrupt()  # type: ignore[union-attr]
            thread.join()

    def _monitor(self, url: str, watched: threading.Event) -> None:
        while not self._closing:
            with suppress(OSError, RespError), Resp(url, timeout=None) as self._resp:
                # Valkey reports wall-clock times.
                offset = time.monotonic() - time.time()
                lines = self._resp.monitor()
                watched.set()
                for line in lines:
                    self._note(line, offset)
            time.sleep(_PAUSE)

    def _note(self, line: bytes, offset: float) -> None:
        if match := _SETBIT.match(line):
            image = (match[2].decode(), int(match[4]))
            self.recorded.append(
                Recorded(at=float(match[1]) + offset, image=image, outcome=match[3].decode())
            )
