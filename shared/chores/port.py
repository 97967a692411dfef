"""Chores: work that is no image. To expand archives, to list sources, to tell a webhook.

A chore is noted when the need for it arises, and done by a worker's parent process. What it works on
lies in the object store, so that a chore lost with Redis can be noted anew; doing one twice
does no harm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ChoreKind(StrEnum):
    #: Expand a job's archives into its inputs.
    EXPAND = "expand"
    #: List what lies below a job's sources.
    LIST = "list"
    #: Look how a job stands, and tell its webhook. Sleeps while there is nothing to tell.
    NOTIFY = "notify"
    #: Deliver one message to a webhook.
    DELIVER = "deliver"


class ChoreState(StrEnum):
    #: To be done at its time, or being done.
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Chore:
    """Something to be done about a job. Times are seconds since the epoch, by the store's clock."""

    #: Says what is to be done, so that it is noted once however often it is added.
    id: str
    kind: ChoreKind
    job_id: str
    payload: str
    state: ChoreState
    created_at: float
    #: When it is to be done; infinity while it sleeps, meaningless once it is done.
    due_at: float
    #: Tries that came to nothing and were put off.
    attempts: int
    #: Times it was taken up since it was last put off; more than one means that who had it died.
    claims: int
    #: What is to be remembered of the last try.
    note: str
    #: Of the claim; who has another one has lost the chore.
    token: str = ""


class Chores(Protocol):
    """Chores, each held by one worker at a time until its claim expires.

    Every method may raise JobStoreUnavailable, and may be repeated. Those that settle a
    chore do nothing for a caller whose claim was lost, and return False.
    """

    def add(
        self, chore_id: str, kind: ChoreKind, job_id: str, *, payload: str = "", delay: float = 0.0
    ) -> None:
        """Note a chore that is due in `delay` seconds; `math.inf` lets it sleep until it is woken.

        One that is known already stays as it is; if it is being done just now, it is
        done once more, for what there is to do may have changed.
        """

    def wake(self, chore_id: str) -> None:
        """Make an open chore due now; if it is being done just now, it is done once more."""

    def claim(self, kinds: tuple[ChoreKind, ...], *, seconds: float) -> Chore | None:
        """Take the chore of these kinds that has been due for longest, for so many seconds."""

    def renew(self, chore: Chore, *, seconds: float) -> bool:
        """Hold a claimed chore for so many seconds more."""

    def finish(self, chore: Chore, *, note: str = "", failed: bool = False) -> bool:
        """End a chore. It is kept for `list` for a month, and not done again if it is added again."""

    def postpone(self, chore: Chore, *, seconds: float = math.inf, note: str = "") -> bool:
        """Put a chore off after a try, by so many seconds; without them it sleeps."""

    def release(self, chore: Chore, *, seconds: float = 0.0, faulty: bool = False) -> bool:
        """Put a chore off as if it had not been tried; `faulty` if it counts as a death in its hands."""

    def get(self, chore_id: str) -> Chore | None: ...

    def list(self, job_id: str) -> tuple[Chore, ...]:
        """Return the chores of a job, the oldest first, done ones included."""

    def forget(self, job_id: str) -> None:
        """Forget all chores of a job."""


def expand_id(job_id: str) -> str:
    return f"expand.{job_id}"


def list_id(job_id: str) -> str:
    return f"list.{job_id}"


def notify_id(job_id: str) -> str:
    return f"notify.{job_id}"
