"""Chores in memory for unit tests; contract tests compare them with the real ones."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from time import time

from shared.chores.port import Chore, ChoreKind, ChoreState
from shared.errors import JobStoreUnavailable


@dataclass(kw_only=True)
class _OpenChore:
    """A chore, and whether it was added or woken again since it was claimed."""

    chore: Chore
    again: bool = False


class FakeChores:
    """Keeps chores in a dictionary. While `away` is set, every call raises JobStoreUnavailable."""

    def __init__(self, clock: Callable[[], float] = time) -> None:
        self.away = False
        self._clock = clock
        self._chores: dict[str, _OpenChore] = {}
        self._lock = Lock()

    def add(
        self, chore_id: str, kind: ChoreKind, job_id: str, *, payload: str = "", delay: float = 0.0
    ) -> None:
        with self._reached():
            now = self._clock()
            chore = Chore(
                id=chore_id,
                kind=kind,
                job_id=job_id,
                payload=payload,
                state=ChoreState.OPEN,
                created_at=now,
                due_at=now + delay,
                attempts=0,
                claims=0,
                note="",
            )
            self._chores.setdefault(chore_id, _OpenChore(chore=chore)).again = True

    def wake(self, chore_id: str) -> None:
        with self._reached():
            found = self._chores.get(chore_id)
            if found is not None and found.chore.state is ChoreState.OPEN:
                found.again = True
                if not found.chore.token:
                    found.chore = replace(found.chore, due_at=self._clock())

    def claim(self, kinds: tuple[ChoreKind, ...], *, seconds: float) -> Chore | None:
        with self._reached():
            now = self._clock()
            chores = [c.chore for c in self._chores.values() if c.chore.state is ChoreState.OPEN]
            due = [chore for chore in chores if chore.kind in kinds and chore.due_at <= now]
            if not due:
                return None
            first = min(due, key=lambda chore: (chore.due_at, chore.id))
            claimed = replace(
                first, token=secrets.token_hex(8), claims=first.claims + 1, due_at=now + seconds
            )
            self._chores[first.id] = _OpenChore(chore=claimed)
            return claimed

    def renew(self, chore: Chore, *, seconds: float) -> bool:
        return self._settle(chore, lambda c: replace(c, due_at=self._clock() + seconds), keeps=True)

    def finish(self, chore: Chore, *, note: str = "", failed: bool = False) -> bool:
        state = ChoreState.FAILED if failed else ChoreState.DONE
        return self._settle(chore, lambda c: replace(c, state=state, note=note, claims=0))

    def postpone(self, chore: Chore, *, seconds: float, note: str) -> bool:
        due = self._clock() + seconds
        return self._settle(
            chore, lambda c: replace(c, due_at=due, note=note, claims=0, attempts=c.attempts + 1)
        )

    def release(self, chore: Chore, *, seconds: float = 0.0, faulty: bool = False) -> bool:
        due = self._clock() + seconds
        return self._settle(chore, lambda c: replace(c, due_at=due, claims=c.claims if faulty else 0))

    def get(self, chore_id: str) -> Chore | None:
        with self._reached():
            found = self._chores.get(chore_id)
            return found.chore if found else None

    def list(self, job_id: str) -> tuple[Chore, ...]:
        with self._reached():
            return tuple(c.chore for c in self._chores.values() if c.chore.job_id == job_id)

    def forget(self, job_id: str) -> None:
        with self._reached():
            for chore_id in [id for id, c in self._chores.items() if c.chore.job_id == job_id]:
                del self._chores[chore_id]

    @contextmanager
    def _reached(self) -> Iterator[None]:
        if self.away:
            raise JobStoreUnavailable
        with self._lock:
            yield

    def _settle(self, chore: Chore, change: Callable[[Chore], Chore], *, keeps: bool = False) -> bool:
        with self._reached():
            found = self._chores.get(chore.id)
            if found is None or found.chore.token != chore.token:
                return False
            changed = change(found.chore)
            if not keeps:
                changed = replace(changed, token="")
                if found.again:
                    changed = replace(changed, state=ChoreState.OPEN, due_at=self._clock())
            found.chore = changed
            return True
