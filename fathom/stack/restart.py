"""Restart the parts of a stack that die, each after a pause that grows with every death."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fathom.stack.processes import Part
from shared.errors import FathomError

#: Pauses before a part is started again, in seconds: the first, and the longest.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: Seconds after which a part has recovered: the pause before its next restart is the first one again.
RECOVERED = 60.0


@dataclass
class _RestartState:
    """When a part was started last, and when it may be started again."""

    started: float
    pause: float = FIRST_PAUSE
    due: float | None = None


class Supervisor:
    """Restarts parts that have died. Call `check` repeatedly, from the thread that starts the parts."""

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
        self._states = {part.name: _RestartState(started=clock()) for part in parts}

    def check(self) -> bool:
        """Start the parts that have died and are due; return whether any was started."""
        return any([self._check_part(part) for part in self._parts])

    def _check_part(self, part: Part) -> bool:
        state, now = self._states[part.name], self._clock()
        if part.is_running():
            state.due = None
            return False
        if state.due is None:
            self._schedule_restart(part, state, now)
        if state.due is not None and now < state.due:
            return False
        return self._restart(part, state)

    def _schedule_restart(self, part: Part, state: _RestartState, now: float) -> None:
        if now - state.started >= RECOVERED:
            state.pause = FIRST_PAUSE
        state.due = now + state.pause
        state.pause = min(2 * state.pause, LONGEST_PAUSE)
        self._say(f"{part.name} has ended unexpectedly and is started again (log: {part.log_path})")

    def _restart(self, part: Part, state: _RestartState) -> bool:
        state.started, state.due = self._clock(), None
        try:
            part.start()
        except FathomError as exc:
            self._say(f"{part.name} did not start: {exc.message}")
            return False
        return True
