"""A thread that calls a function again and again, and pauses while a store that it needs is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from worker.supervision.breaker import STORE_ERRORS, Breaker, Breakers

logger = logging.getLogger(__name__)

#: Seconds between two calls.
PERIOD = 1.0


class PeriodicThread:
    """A thread that calls a function every second until it is stopped.

    It does not call while a store that it `needs` is away. It tells `breakers`, if given, which store failed.
    Before every call, and also while a store is away, it calls `on_turn`, which must not raise.
    """

    def __init__(
        self,
        name: str,
        call: Callable[[], object],
        seconds: float = PERIOD,
        *,
        breakers: Breakers | None = None,
        needs: tuple[Breaker, ...] = (),
        on_turn: Callable[[], object] | None = None,
    ) -> None:
        self._call = call
        self._seconds = seconds
        self._breakers = breakers
        self._needs = needs
        self._on_turn = on_turn
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        self._stop.set()

    def stop(self, timeout: float = 5.0) -> None:
        """Ask the thread to stop and wait for its present call."""
        self.ask_to_stop()
        self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stop.wait(self._seconds):
            if self._on_turn is not None:
                self._on_turn()
            if not any(breaker.is_open for breaker in self._needs):
                self._call_once()

    def _call_once(self) -> None:
        began = time.monotonic()
        try:
            self._call()
        except STORE_ERRORS as exc:
            # The breaker logs it, once for all.
            if self._breakers is not None:
                self._breakers.note(exc, began=began)
        except Exception:
            # A failed call must not end the thread: others depend on the calls to come.
            name = self._thread.name
            logger.exception("The thread %r failed unexpectedly.", name, extra={"action": "run_periodically"})
