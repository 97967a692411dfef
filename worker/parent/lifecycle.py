"""A worker's parent process from start to end, by Celery's signals.

On SIGTERM the children finish the image in hand and give back the rest of their leases, so that
another worker has them at once.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
from collections.abc import Callable
from contextlib import closing
from types import FrameType
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown, worker_shutting_down

from shared.errors import FathomError
from shared.networks import Network
from shared.objectstore.s3 import S3ObjectStore
from shared.observability.logs import configure_logging
from shared.observability.redaction import secrets_of
from shared.observability.tracing_setup import prepare_tracing
from shared.settings import Settings
from shared.tickets import queue_of
from worker.model.served import fetch_shared_models, prepare_served
from worker.parent.threads import MaintenanceThreads
from worker.parent.wiring import make_threads
from worker.supervision.shared_memory import drain

logger = logging.getLogger(__name__)

#: The signals that ask a worker to stop, gently or at once.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


def connect_signals(app: Celery, settings: Settings) -> None:
    """Tie a worker's life to Celery's signals."""
    running: list[MaintenanceThreads] = []
    served: list[Network] = []

    def configure(**_: object) -> None:
        configure_logging(settings.log_level, settings.log_format, secrets=secrets_of(settings))
        # Before the first fork: the children then have it, and a problem is logged once.
        prepare_tracing()

    def prepare(**_: object) -> None:
        served.extend(_prepare(settings))
        app.amqp.queues.select([queue_of(network.name) for network in served])

    def start(sender: object, **_: object) -> None:
        slots = getattr(getattr(sender, "controller", sender), "concurrency", 1) or 1
        threads = make_threads(app, settings, slots, served)
        running.append(threads)
        threads.start()
        for number in _STOP_SIGNALS:
            _drain_at(number)
        # This runs however Celery ends, also when a second signal makes it kill its children.
        atexit.register(_run_here(threads.stop))

    def stop(**_: object) -> None:
        for threads in running:
            threads.stop()

    # Celery holds receivers weakly unless told otherwise.
    setup_logging.connect(configure, weak=False)
    worker_init.connect(prepare, weak=False)
    worker_ready.connect(start, weak=False)
    worker_shutting_down.connect(lambda **_: drain(), weak=False)
    worker_shutdown.connect(stop, weak=False)


def _prepare(settings: Settings) -> tuple[Network, ...]:
    """Prepare the networks before the first fork, so that children find them; exit if one is missing."""
    try:
        with closing(S3ObjectStore.from_settings(settings, attempts=1)) as objects:
            fetch_shared_models(settings, objects)
        served = prepare_served(settings)
    except FathomError as exc:
        raise SystemExit(f"fathom worker: {exc.message}") from exc
    # Children read their settings as this process does, and must serve what was prepared and no more.
    os.environ["FATHOM_MODELS"] = " ".join(network.name for network in served)
    return served


def _drain_at(number: int) -> None:
    """Drain at a signal before Celery handles it: on SIGQUIT, Celery waits for its children first."""
    celerys = signal.getsignal(number)

    def handle(number: int, frame: FrameType | None) -> Any:
        drain()
        return celerys(number, frame) if callable(celerys) else None

    signal.signal(number, handle)


def _run_here(call: Callable[[], object]) -> Callable[[], None]:
    """Return `call` as a function that does nothing in children, which inherit exit handlers."""
    parent = os.getpid()

    def run() -> None:
        if os.getpid() == parent:
            call()

    return run
