"""All that a worker's parent process does in threads, put together, begun and ended."""

from __future__ import annotations

import logging

from celery import Celery

from shared.observability.tracing import Tracer, make_tracer
from shared.settings import Settings
from shared.tickets import CeleryTickets
from worker.chores.wiring import LOOK, chore_runners
from worker.parent.expiry import Expirer
from worker.parent.maintenance import Maintenance
from worker.parent.recovery import Recoverer
from worker.stores import SERVICE, Stores, connect_stores, process_name
from worker.supervision.breaker import STORE_ERRORS
from worker.supervision.periodic import PeriodicThread
from worker.supervision.shared_memory import breakers, draining, heartbeat_slots

logger = logging.getLogger(__name__)

#: Seconds between looks at a store that is away, and at jobs that have ended.
_PROBE, _FINISH = 0.1, 0.2


class MaintenanceThreads:
    """The threads of a worker's parent process."""

    def __init__(self, app: Celery, settings: Settings, slots: int) -> None:
        self._settings = settings
        self._stores = connect_stores(settings)
        self._tracer = make_tracer(SERVICE)
        self._maintenance = _maintenance(app, settings, slots, self._stores, self._tracer)
        self._chores = chore_runners(
            settings, self._stores, self._maintenance.top_up, draining, tracer=self._tracer
        )
        self._threads = self._plan_threads()
        self._left = False

    def begin(self) -> None:
        for thread in self._threads:
            thread.start()

    def leave(self) -> None:
        """End all threads, give back what killed children held, and say that this worker is going."""
        if self._left:
            return
        self._left = True
        for thread in self._threads:
            thread.ask_to_stop()
        try:
            self._give_back_leases()
            for thread in self._threads:
                thread.stop()
            self._maintenance.unregister()
        except STORE_ERRORS as exc:
            # Registration and leases expire by themselves.
            logger.warning("Left without saying so: %s", exc.message, extra={"action": "stop_worker"})
        self._tracer.stop()

    def _plan_threads(self) -> tuple[PeriodicThread, ...]:
        keeper, expirer, recoverer = self._maintenance, self._expirer(), self._recoverer()
        redis, both = (breakers.jobs,), (breakers.jobs, breakers.objects)
        silence = max(self._settings.lease_seconds, 5.0)
        plan = [
            PeriodicThread("probing", self._probe, _PROBE, breakers=breakers),
            PeriodicThread("watching", lambda: heartbeat_slots.kill_silent(silence), breakers=breakers),
            PeriodicThread("housekeeping", keeper.run, breakers=breakers, needs=redis),
            PeriodicThread("finalising", keeper.finish_up, _FINISH, breakers=breakers, needs=both),
            PeriodicThread("recovering", recoverer.recover, breakers=breakers, needs=both),
        ]
        plan += [
            PeriodicThread(f"chores {n}", runner.run_due, LOOK, breakers=breakers, needs=both)
            for n, runner in enumerate(self._chores)
        ]
        if expirer is not None:
            plan.append(
                PeriodicThread("expiring", expirer.expire, expirer.pause, breakers=breakers, needs=both)
            )
            plan.append(
                PeriodicThread("sweeping", expirer.sweep, expirer.long_pause, breakers=breakers, needs=both)
            )
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
        for lease_id in heartbeat_slots.leases():
            self._stores.jobs.give_back(lease_id)


def _maintenance(app: Celery, settings: Settings, slots: int, stores: Stores, tracer: Tracer) -> Maintenance:
    return Maintenance(
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
