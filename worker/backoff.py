"""Waiting for infrastructure to come back: exponential, with jitter, bounded."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from shared.errors import ObjectStoreDenied, Unavailable

T = TypeVar("T")
logger = logging.getLogger(__name__)

#: Trouble of the infrastructure: no image is ever failed for it. Refused credentials
#: count too: an operator can mend them while the job waits.
INFRASTRUCTURE = (Unavailable, ObjectStoreDenied)


def delays(first: float = 0.1, ceiling: float = 5.0) -> Iterator[float]:
    """Yield waiting times in seconds: each up to double the last, drawn from its upper half."""
    bound = first
    while True:
        yield bound * random.uniform(0.5, 1.0)
        bound = min(bound * 2, ceiling)


def patiently(
    call: Callable[[], T],
    *,
    seconds: float,
    give_up: Callable[[], bool] = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> T:
    """Return what `call` returns, calling again while the infrastructure is away.

    Raises the last error once `seconds` have passed or `give_up` says so.
    """
    deadline = time.monotonic() + seconds
    for delay in delays():
        try:
            return call()
        except INFRASTRUCTURE as exc:
            if give_up() or time.monotonic() + delay > deadline:
                raise
            logger.warning("Waiting: %s", exc.message, extra={"action": "wait", "code": exc.code})
            wait(delay)
    raise AssertionError("the delays never end")
