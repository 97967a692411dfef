"""All that a worker's parent process does in threads, put together, begun and ended."""

from __future__ import annotations

import logging

from celery import Celery

from shared.jobs.job import Lease
from shared.observability.tracing import Tracer
from shared.observability.tracing_setup import make_tracer
from shared.options import Options
from shared.settings import Settings
from shared.tickets import CeleryTickets
from worker.chores.wiring import LOOK, chore_runners
from worker.parent.expiry import Expirer
from worker.parent.housekeeper import Housekeeper
from worker.parent.recovery import Recoverer
from worker.stores import SERVICE, Stores, connect_stores, process_name
from worker.supervision.breaker import INFRASTRUCTURE
from worker.supervision.periodic import Rounds
from worker.supervision.shared_memory import breakers, draining, stations

logger = logging.getLogger(__name__)

#: Seconds between looks at a store that is away, and at jobs that have ended.
_PROBE, _FINISH = 0.1, 0.2


class Household:
    """The threads of a worker's parent process."""

    def __init__(self, app: Celery, settings: Settings, slots: int) -> None:
        self._settings = settings
        self._stores = connect_stores(settings)
        self._tracer = make_tracer(SERVICE)
        self._housekeeper = _housekeeper(app, settings, slots, self._stores, self._tracer)
        self._chores = chore_runners(
            settings, self._stores, self._housekeeper.top_up, draining, tracer=self._tracer
        )
        self._rounds = self._plan_rounds()
        self._left = False

    def begin(self) -> None:
        for rounds in self._rounds:
            rounds.start()

    def leave(self) -> None:
        """End all threads, give back what killed children held, and say that this worker is going."""
        if self._left:
            return
        self._left = True
        for rounds in self._rounds:
            rounds.ask_to_stop()
        try:
            self._give_back_leases()
            for rounds in self._rounds:
                rounds.stop()
            self._housekeeper.leave()
        except INFRASTRUCTURE as exc:
            # Registration and leases expire by themselves.
            logger.warning("Left without saying so: %s", exc.message, extra={"action": "stop_worker"})
        self._tracer.stop()

    def _plan_rounds(self) -> tuple[Rounds, ...]:
        keeper, expirer, recoverer = self._housekeeper, self._expirer(), self._recoverer()
        redis, both = (breakers.jobs,), (breakers.jobs, breakers.objects)
        silence = max(self._settings.lease_seconds, 5.0)
        plan = [
            Rounds("probing", self._probe, _PROBE, breakers=breakers),
            Rounds("watching", lambda: stations.end_silent(silence), breakers=breakers),
            Rounds("housekeeping", keeper.keep_house, breakers=breakers, needs=redis),
            Rounds("finalising", keeper.finish_up, _FINISH, breakers=breakers, needs=both),
            Rounds("recovering", recoverer.recover, breakers=breakers, needs=both),
        ]
        plan += [
            Rounds(f"chores {n}", runner.run_due, LOOK, breakers=breakers, needs=both)
            for n, runner in enumerate(self._chores)
        ]
        if expirer is not None:
            plan.append(Rounds("expiring", expirer.expire, expirer.pause, breakers=breakers, needs=both))
            plan.append(Rounds("sweeping", expirer.sweep, expirer.long_pause, breakers=breakers, needs=both))
        return tuple(plan)

    def _probe(self) -> None:
        breakers.jobs.probe(self._stores.jobs.ping)
        breakers.objects.probe(self._stores.objects.ping)

    def _recoverer(self) -> Recoverer:
        # Of its own: see Recoverer.
        stores = connect_stores(self._settings)
        return Recoverer(
            name=process_name(),
            jobs=stores.jobs,
            objects=stores.objects,
            retention_seconds=_retention_seconds(self._settings),
            chores=stores.chores,
            give_up=draining,
        )

    def _expirer(self) -> Expirer | None:
        retention_seconds = _retention_seconds(self._settings)
        if retention_seconds is None:
            return None
        return Expirer(
            name=process_name(),
            jobs=self._stores.jobs,
            objects=self._stores.objects,
            retention_seconds=retention_seconds,
            chores=self._stores.chores,
            give_up=draining,
        )

    def _give_back_leases(self) -> None:
        for lease_id in stations.leases():
            # Its id is all that is needed of a lease to give it back.
            self._stores.jobs.give_back(Lease(id=lease_id, job_id="", indices=(), options=Options()))


def _housekeeper(app: Celery, settings: Settings, slots: int, stores: Stores, tracer: Tracer) -> Housekeeper:
    return Housekeeper(
        name=process_name(),
        slots=slots,
        lease_images=settings.lease_images,
        lease_seconds=settings.lease_seconds,
        jobs=stores.jobs,
        objects=stores.objects,
        tickets=CeleryTickets(app),
        chores=stores.chores,
        tracer=tracer,
    )


def _retention_seconds(settings: Settings) -> float | None:
    return settings.retention_hours * 3600 if settings.retention_hours else None
