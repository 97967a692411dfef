"""The housekeeper: the maintenance that every worker's parent does, in a process without children.

With one of them there may be no workers at all: archives are still expanded and jobs finalised, expired and
recovered. It loads no network and counts as no worker. Any number may run beside any number of workers.
"""

from __future__ import annotations

import logging
import signal

from shared.observability.logs import configure_logging
from shared.observability.redaction import secrets_of
from shared.observability.tracing_setup import prepare_tracing
from shared.settings import Settings
from shared.tickets import create_celery_app
from worker.parent.wiring import make_housekeeping_threads
from worker.supervision.shared_memory import drain

logger = logging.getLogger(__name__)

#: The signals that end it. A second one ends it at once.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
_ACTION = {"action": "keep_house"}


def keep_house(settings: Settings) -> None:
    """Run the maintenance threads until a signal asks this process to stop; then release what they hold.

    Call it in the main thread, before there are others: these would take the signals.
    """
    configure_logging(settings.log_level, settings.log_format, secrets=secrets_of(settings))
    prepare_tracing()
    # Blocked signals wait for `sigwait`; all threads that are started now inherit that.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    threads = make_housekeeping_threads(create_celery_app(settings), settings)
    threads.start()
    logger.info("The housekeeper is at work.", extra=_ACTION)
    signal.sigwait(_STOP_SIGNALS)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    drain()
    threads.stop()
    logger.info("The housekeeper has stopped.", extra=_ACTION)
