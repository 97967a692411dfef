"""Add up what one process measures, and send it to Redis every few seconds."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import Counter
from dataclasses import dataclass, field

from shared.errors import Unavailable
from shared.metrics.model import Family, MetricsBatch, Series, bucket_of
from shared.metrics.port import Statistics

logger = logging.getLogger(__name__)

#: Seconds between two batches of a process.
EVERY = 5.0


@dataclass
class _Open:
    """What was measured since the last batch."""

    counts: Counter[tuple[Series, int]] = field(default_factory=Counter)
    microseconds: Counter[Series] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)


class MetricsBuffer:
    """Adds up what the threads of one process measure; a thread of its own sends it in batches."""

    def __init__(self, statistics: Statistics, *, every: float = EVERY) -> None:
        self._statistics = statistics
        self._every = every
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._open = _Open()
        self._unsent: MetricsBatch | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def observe(self, family: Family, *labels: str, seconds: float) -> None:
        """Count one duration."""
        series = Series(family=family, labels=labels)
        with self._lock:
            self._open.counts[series, bucket_of(seconds)] += 1
            self._open.microseconds[series] += round(seconds * 1_000_000)

    def count_image(self, worker: str) -> None:
        """Count an image that a worker has ended."""
        with self._lock:
            self._open.images[worker] += 1

    def start(self) -> None:
        """Begin to send batches. Call it after a fork, since no thread survives one."""
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(self._every)
        self.flush()

    def flush(self) -> None:
        """Send what was measured. If that fails, it is sent later, and counts once."""
        with self._sending:
            batch = self._unsent or self._close()
            while batch is not None:
                self._unsent = batch
                try:
                    self._statistics.add(batch)
                except Unavailable as exc:
                    logger.debug("Statistics wait: %s", exc.message, extra={"action": "send_statistics"})
                    return
                self._unsent, batch = None, self._close()

    def _close(self) -> MetricsBatch | None:
        with self._lock:
            done, self._open = self._open, _Open()
        if not done.counts and not done.images:
            return None
        return MetricsBatch(
            id=secrets.token_hex(8), counts=done.counts, microseconds=done.microseconds, images=done.images
        )

    def _run(self) -> None:
        while not self._stopped.wait(self._every):
            try:
                self.flush()
            except Exception:
                # Statistics must not end a process; the next round tries again.
                logger.exception("Statistics were not sent.", extra={"action": "send_statistics"})
