"""A worker from start to end: what its parent process does around Celery's own life cycle.

On SIGTERM the children finish the image in hand and give the rest of their leases
back, so that another worker has them at once.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown, worker_shutting_down

from shared.errors import FathomError
from shared.observability.logs import configure_logging
from shared.observability.redaction import secrets_of
from shared.observability.tracing_setup import prepare_tracing
from shared.settings import Settings
from worker.model.engines import prepare_engine
from worker.parent.threads import Household
from worker.supervision.shared_memory import drain

logger = logging.getLogger(__name__)

#: What asks a worker to stop, be it gently or in haste.
_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def connect_signals(app: Celery, settings: Settings) -> None:
    """Tie a worker's life to Celery's signals."""
    households: list[Household] = []

    def configure(**_: object) -> None:
        configure_logging(settings.log_level, settings.log_format, secrets=secrets_of(settings))
        # Before the first fork: children have it then, and what is in the way is said once.
        prepare_tracing()

    def prepare(**_: object) -> None:
        _prepare(settings)

    def begin(sender: object, **_: object) -> None:
        slots = getattr(getattr(sender, "controller", sender), "concurrency", 1) or 1
        household = Household(app, settings, slots)
        households.append(household)
        household.begin()
        for number in _ENDINGS:
            _drain_at(number)
        # However Celery ends: also when it is told twice, and kills its children.
        atexit.register(_run_here(household.leave))

    def end(**_: object) -> None:
        for household in households:
            household.leave()

    # Celery holds receivers weakly unless told otherwise.
    setup_logging.connect(configure, weak=False)
    worker_init.connect(prepare, weak=False)
    worker_ready.connect(begin, weak=False)
    worker_shutting_down.connect(lambda **_: drain(), weak=False)
    worker_shutdown.connect(end, weak=False)


def _prepare(settings: Settings) -> None:
    """Have the network ready before the first fork, so that children find it; stop if there is none."""
    try:
        prepare_engine(settings)
    except FathomError as exc:
        raise SystemExit(f"fathom worker: {exc.message}") from exc


def _drain_at(number: int) -> None:
    """Drain at a signal before Celery acts on it: on SIGQUIT it waits for its children first."""
    celerys = signal.getsignal(number)

    def handle(number: int, frame: FrameType | None) -> Any:
        drain()
        return celerys(number, frame) if callable(celerys) else None

    signal.signal(number, handle)


def _run_here(call: Callable[[], object]) -> Callable[[], None]:
    """Return `call` as something that does nothing in children, who inherit what is registered."""
    parent = os.getpid()

    def run() -> None:
        if os.getpid() == parent:
            call()

    return run
