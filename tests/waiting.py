"""Wait for another thread, process or server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds until a test gives up: far more than anything takes, because a busy machine must not fail a test.
DEADLINE = 60.0


def eventually(
    look: Callable[[], T | None], expected: Callable[[T], object] = bool, *, seconds: float = DEADLINE
) -> T:
    """Poll `look` until its result is as `expected`, by default truthy, and return the result.

    None is never as expected. Fails after `seconds`, and shows the last result.
    """
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen is not None and expected(seen):
            return seen
        assert time.monotonic() < deadline, f"It did not happen within {seconds:g} s; last seen: {seen!r}"
        time.sleep(0.02)
