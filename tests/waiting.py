"""How tests wait for what another thread, process or server is about to do."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds until a test gives up: far more than anything takes, for a busy machine is no fault.
DEADLINE = 60.0


def eventually(
    look: Callable[[], T | None], expected: Callable[[T], object] = bool, *, seconds: float = DEADLINE
) -> T:
    """Look again and again until what is seen is as expected, by default anything true; return it.

    Fails after `seconds`, and says what was seen last.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen is not None and expected(seen):
            return seen
        assert time.monotonic() < deadline, f"It did not happen within {seconds:g} s; last seen: {seen!r}"
        time.sleep(0.02)
