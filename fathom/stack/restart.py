"""Keeping the parts of a stack alive: one that dies is started again, ever more patiently."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fathom.stack.processes import Part
from shared.errors import FathomError

#: Pauses before a part is started again, in seconds: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: A part that lived this long has recovered; its next death is a first one.
RECOVERED = 60.0


@dataclass
class _Life:
    """How a part has fared: when it was started last, and when it may be started again."""

    started: float
    pause: float = FIRST_PAUSE
    due: float | None = None


class Supervisor:
    """Looks after parts; `check` is called again and again from the thread that starts them."""

    def __init__(
        self,
        parts: Sequence[Part],
        *,
        say: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._say = say
        self._clock = clock
        self._lives = {part.name: _Life(started=clock()) for part in parts}

    def check(self) -> bool:
        """Start what has died and is due; tell whether anything was started."""
        return any([self._look_after(part) for part in self._parts])

    def _look_after(self, part: Part) -> bool:
        life, now = self._lives[part.name], self._clock()
        if part.is_running():
            life.due = None
            return False
        if life.due is None:
            self._mourn(part, life, now)
        if life.due is not None and now < life.due:
            return False
        return self._revive(part, life)

    def _mourn(self, part: Part, life: _Life, now: float) -> None:
        if now - life.started >= RECOVERED:
            life.pause = FIRST_PAUSE
        life.due = now + life.pause
        life.pause = min(2 * life.pause, LONGEST_PAUSE)
        self._say(f"{part.name} has ended unexpectedly and is started again (log: {part.log_path})")

    def _revive(self, part: Part, life: _Life) -> bool:
        life.started, life.due = self._clock(), None
        try:
            part.start()
        except FathomError as exc:
            self._say(f"{part.name} did not start: {exc.message}")
            return False
        return True
