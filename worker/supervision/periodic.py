"""A thread that does something again and again, and waits while a store that it needs is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from worker.supervision.breaker import STORE_ERRORS, Breaker, Breakers

logger = logging.getLogger(__name__)

#: Seconds between rounds.
ROUND = 1.0


class Rounds:
    """A thread that calls a function every second until it is stopped.

    `breakers` are the worker's. No round begins while a store that it `needs` is away.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[], object],
        seconds: float = ROUND,
        *,
        breakers: Breakers | None = None,
        needs: tuple[Breaker, ...] = (),
    ) -> None:
        self._call = call
        self._seconds = seconds
        self._breakers = breakers or Breakers()
        self._needs = needs
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def stop(self, timeout: float = 5.0) -> None:
        """Ask the thread to stop and wait for the round it is in."""
        self.ask_to_stop()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            if not any(breaker.is_open for breaker in self._needs):
                self._round()

    def _round(self) -> None:
        began = time.monotonic()
        try:
            self._call()
        except STORE_ERRORS as exc:
            # The breaker tells it, once for all.
            self._breakers.note(exc, began=began)
        except Exception:
            # A fault in one round must not end all rounds to come: others depend on them.
            logger.exception("Housekeeping failed unexpectedly.", extra={"action": "keep_house"})
