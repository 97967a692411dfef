"""Run chores that are due, one at a time.

A thread renews the claim on a chore while it runs; if the worker dies, another claims the chore. A chore
that kills its worker or fails unexpectedly is given up after three claims.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from shared.chores.port import Chore, ChoreKind, Chores
from shared.errors import FathomError
from shared.observability.logs import log_context
from worker.supervision.breaker import STORE_ERRORS
from worker.supervision.periodic import PeriodicThread

logger = logging.getLogger(__name__)

#: Seconds that a claim lasts, and between its renewals.
CLAIM, RENEWAL = 15.0, 5.0
#: Seconds until a retry of a chore that failed because a store was away, or unexpectedly.
AWAY, FAULT = 5.0, 10.0
#: Seconds until a retry of a chore whose job is not recorded yet.
UNRECORDED = 1.0
#: Claims after which a chore is given up.
MAX_CLAIMS = 3


@dataclass(frozen=True, kw_only=True)
class Done:
    """The chore is done, or given up."""

    note: str = ""
    failed: bool = False


@dataclass(frozen=True, kw_only=True)
class Later:
    """The chore is due again in so many seconds; by default only when it is woken."""

    seconds: float = math.inf
    note: str = ""


class ChoreInterrupted(Exception):
    """The worker is draining, or another one has claimed the chore."""


#: Raises ChoreInterrupted when a chore must stop. Call it now and then.
Check = Callable[[], None]


class ChoreHandler(Protocol):
    """Does chores of one kind. Doing a chore twice does no harm."""

    def do(self, chore: Chore, check: Check) -> Done | Later:
        """Do a chore. Raises what the stores raise when they are away."""

    def give_up(self, chore: Chore) -> None:
        """Record that a chore failed for an unforeseen reason, where a client can see it."""


class ChoreRunner:
    """Runs the chores of certain kinds; any number of runners share them."""

    def __init__(
        self,
        chores: Chores,
        handlers: Mapping[ChoreKind, ChoreHandler],
        *,
        draining: Callable[[], bool],
    ) -> None:
        self._chores = chores
        self._handlers = handlers
        self._draining = draining

    def run_due(self) -> int:
        """Run chores until none is due; return how many were claimed."""
        count = 0
        while not self._draining():
            chore = self._chores.claim(tuple(self._handlers), seconds=CLAIM)
            if chore is None:
                break
            with log_context(job=chore.job_id):
                self._run(chore)
            count += 1
        return count

    def _run(self, chore: Chore) -> None:
        handler = self._handlers[chore.kind]
        try:
            if chore.claims > MAX_CLAIMS:
                self._give_up(handler, chore)
                return
            with _RenewedClaim(self._chores, chore, self._draining) as claim:
                outcome = handler.do(chore, claim.check)
            self._settle(chore, outcome)
        except ChoreInterrupted:
            self._chores.release(chore)
        except STORE_ERRORS:
            self._chores.release(chore, seconds=AWAY)
            # The caller tells the breakers.
            raise
        except Exception:
            logger.exception("A chore failed unexpectedly.", extra={"action": "do_chore", "chore": chore.id})
            self._chores.release(chore, seconds=FAULT * chore.claims, faulty=True)

    def _settle(self, chore: Chore, outcome: Done | Later) -> None:
        if isinstance(outcome, Done):
            self._chores.finish(chore, note=outcome.note, failed=outcome.failed)
        else:
            self._chores.postpone(chore, seconds=outcome.seconds, note=outcome.note)

    def _give_up(self, handler: ChoreHandler, chore: Chore) -> None:
        logger.error("A chore was given up.", extra={"action": "give_up_chore", "chore": chore.id})
        try:
            handler.give_up(chore)
        except FathomError as exc:
            if isinstance(exc, STORE_ERRORS):
                raise
            logger.warning("Its job needs it no more: %s", exc.message, extra={"action": "give_up_chore"})
        self._chores.finish(chore, note=chore.note, failed=True)


class _RenewedClaim:
    """A claim that a thread renews while its chore runs."""

    def __init__(self, chores: Chores, chore: Chore, draining: Callable[[], bool]) -> None:
        self._chores = chores
        self._chore = chore
        self._draining = draining
        self._lost = False
        self._renewals = PeriodicThread("renewing a chore", self._renew, seconds=RENEWAL)

    def __enter__(self) -> _RenewedClaim:
        self._renewals.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._renewals.stop()

    def check(self) -> None:
        if self._lost or self._draining():
            raise ChoreInterrupted

    def _renew(self) -> None:
        self._lost = not self._chores.renew(self._chore, seconds=CLAIM)
