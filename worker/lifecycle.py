"""A worker from start to end: what its parent process does around Celery's own life cycle.

On SIGTERM the children finish the image in hand and give the rest of their leases
back, so that another worker has them at once.
"""

from __future__ import annotations

import ctypes
import logging
from multiprocessing.sharedctypes import RawValue

from celery import Celery
from celery.signals import setup_logging, worker_init, worker_ready, worker_shutdown, worker_shutting_down

from shared.errors import FathomError
from shared.logs import configure_logging
from shared.settings import Settings
from shared.tickets import CeleryTickets
from worker.backoff import INFRASTRUCTURE
from worker.model.engines import prepare_engine
from worker.supervisor import Housekeeper, Rounds
from worker.wiring import connect_stores, process_name

logger = logging.getLogger(__name__)

# Shared with the children, who inherit it when they are forked.
_draining = RawValue(ctypes.c_bool, False)


def draining() -> bool:
    """Return True once this worker is to take on nothing more; read in the children."""
    return bool(_draining.value)


def connect_signals(app: Celery, settings: Settings) -> None:
    """Tie a worker's life to Celery's signals."""
    threads: list[Rounds] = []
    housekeepers: list[Housekeeper] = []

    def configure(**_: object) -> None:
        configure_logging(settings.log_level, settings.log_format)

    def prepare(**_: object) -> None:
        _prepare(settings)

    def begin(sender: object, **_: object) -> None:
        slots = getattr(getattr(sender, "controller", sender), "concurrency", 1) or 1
        keeper = _housekeeper(app, settings, slots)
        housekeepers.append(keeper)
        threads.append(Rounds("housekeeping", keeper.keep_house))
        threads.append(Rounds("finalising", keeper.finalize_all, seconds=0.2))
        for thread in threads:
            thread.start()

    def drain(**_: object) -> None:
        _draining.value = True

    def end(**_: object) -> None:
        for thread in threads:
            thread.stop()
        for keeper in housekeepers:
            _leave(keeper)

    # Celery holds receivers weakly unless told otherwise.
    setup_logging.connect(configure, weak=False)
    worker_init.connect(prepare, weak=False)
    worker_ready.connect(begin, weak=False)
    worker_shutting_down.connect(drain, weak=False)
    worker_shutdown.connect(end, weak=False)


def _prepare(settings: Settings) -> None:
    """Have the network ready before the first fork, so that children find it; stop if there is none."""
    try:
        prepare_engine(settings)
    except FathomError as exc:
        raise SystemExit(f"fathom worker: {exc.message}") from exc


def _housekeeper(app: Celery, settings: Settings, slots: int) -> Housekeeper:
    stores = connect_stores(settings)
    return Housekeeper(
        name=process_name(),
        slots=slots,
        lease_images=settings.lease_images,
        jobs=stores.jobs,
        objects=stores.objects,
        tickets=CeleryTickets(app),
    )


def _leave(keeper: Housekeeper) -> None:
    try:
        keeper.leave()
    except INFRASTRUCTURE as exc:
        # The registration expires by itself within seconds.
        logger.warning("Left without saying so: %s", exc.message, extra={"action": "stop_worker"})
