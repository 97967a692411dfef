"""Chores: work other than images. They expand archives, list sources and call webhooks.

A chore is enqueued when it is needed, and a worker's parent process does it. Its data lies in the object
store, so a chore that is lost with Redis can be enqueued again. Doing a chore twice does no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class ChoreKind(StrEnum):
    #: Expand a job's archives into its inputs.
    EXPAND = "expand"
    #: List the photos below a job's sources.
    LIST = "list"
    #: Look at a job's state and tell its webhook; it sleeps while there is nothing to tell.
    NOTIFY = "notify"
    #: Deliver one message to a webhook.
    DELIVER = "deliver"


class ChoreState(StrEnum):
    #: It waits for its time, or is being done.
    OPEN = "open"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Chore:
    """One chore of a job. Times are seconds since the epoch, by the store's clock."""

    #: Names the work, so that a chore that is added repeatedly exists only once.
    id: str
    kind: ChoreKind
    job_id: str
    payload: str
    state: ChoreState
    created_at: float
    #: When it is due; infinity while it sleeps. It means nothing once the chore is done.
    due_at: float
    #: How often it was tried and postponed.
    attempts: int
    #: How often it was claimed since it was last postponed; more than once means that a holder died.
    claims: int
    #: A note about the last try.
    note: str
    #: The claim's token; a holder with another token has lost the chore.
    token: str = ""


class Chores(Protocol):
    """Chores, each held by one worker at a time until its claim expires.

    Every method may raise JobStoreUnavailable, and may be repeated. `renew`, `finish`, `postpone` and
    `release` return False, and change nothing, if the caller has lost its claim.
    """

    def add(
        self, chore_id: str, kind: ChoreKind, job_id: str, *, payload: str = "", delay: float = 0.0
    ) -> None:
        """Add a chore that is due in `delay` seconds; with `math.inf` it sleeps until it is woken.

        A known chore stays as it is. If it is being done right now, it is done once more, because
        there may be more to do.
        """

    def wake(self, chore_id: str) -> None:
        """Make an open chore due now; if it is being done right now, it is done once more."""

    def claim(self, kinds: tuple[ChoreKind, ...], *, seconds: float) -> Chore | None:
        """Claim, for so many seconds, the chore of these kinds that has been due longest."""

    def renew(self, chore: Chore, *, seconds: float) -> bool:
        """Hold a claimed chore for so many seconds more."""

    def finish(self, chore: Chore, *, note: str = "", failed: bool = False) -> bool:
        """End a chore. `list` shows it for a month, and adding it again does nothing."""

    def postpone(self, chore: Chore, *, seconds: float, note: str) -> bool:
        """Postpone a chore after a try, by so many seconds; with `math.inf` it sleeps."""

    def release(self, chore: Chore, *, seconds: float = 0.0, faulty: bool = False) -> bool:
        """Postpone a chore that was not tried; with `faulty`, count the claim as if its holder had died."""

    def get(self, chore_id: str) -> Chore | None: ...

    def list(self, job_id: str) -> tuple[Chore, ...]:
        """Return the chores of a job, oldest first, including those that are done."""

    def forget(self, job_id: str) -> None:
        """Forget all chores of a job."""


def expand_id(job_id: str) -> str:
    return f"expand.{job_id}"


def list_id(job_id: str) -> str:
    return f"list.{job_id}"


def notify_id(job_id: str) -> str:
    return f"notify.{job_id}"
