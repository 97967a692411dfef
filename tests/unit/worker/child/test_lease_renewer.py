from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from fathom.options import Options
from shared.jobs.job import ImageFailure, ImageState, Lease
from tests.fakes import FakeClock
from tests.unit.worker.conftest import WorkerHarness
from tests.waiting import DEADLINE, eventually
from worker.child.lease_renewer import LeaseRenewer, end_this_process
from worker.supervision.breaker import Breakers
from worker.supervision.heartbeat import Heartbeat, HeartbeatSlot


def renewer(
    harness: WorkerHarness,
    lease: Lease,
    *,
    seconds: float = 15.0,
    image_seconds: float = 60.0,
    heartbeat: Heartbeat | None = None,
    draining: bool = False,
    end_process: Callable[[], None] = end_this_process,
    clock: Callable[[], float] = time.monotonic,
) -> LeaseRenewer:
    return LeaseRenewer(
        harness.jobs,
        lease,
        lease_seconds=seconds,
        image_seconds=image_seconds,
        breaker=Breakers().jobs,
        heartbeat=heartbeat or Heartbeat(HeartbeatSlot(), memory_bytes=0),
        draining=lambda: draining,
        end_process=end_process,
        clock=clock,
    )


def take_lease(harness: WorkerHarness, images: int = 3) -> tuple[str, Lease]:
    job_id = harness.submit(*(b"picture %d" % n for n in range(images)))
    lease = harness.jobs.lease("worker", limit=images)
    assert lease is not None
    return job_id, lease


def test_only_the_current_image_is_charged_when_the_worker_dies(harness: WorkerHarness):
    job_id, lease = take_lease(harness)
    attempts = 0
    while harness.jobs.get(job_id).counts.failed == 0 and attempts < 10:
        with renewer(harness, lease) as held:
            held.take(1)
        attempts += 1
        harness.clock.advance(60)
        harness.jobs.reap()
        harness.clock.advance(60)
        while (again := harness.jobs.lease("worker", limit=3)) is not None and 1 not in again.indices:
            harness.jobs.renew(again, in_hand=None)
        lease = again or lease

    assert attempts == 3
    assert [image.index for image in harness.jobs.failures(job_id)] == [1]


def test_an_expired_lease_is_dropped(harness: WorkerHarness):
    _, lease = take_lease(harness)
    harness.clock.advance(60)
    harness.jobs.reap()

    with renewer(harness, lease) as held:
        held.take(0)

    assert held.dropped


def test_a_lease_is_renewed_while_an_image_is_in_work(harness: WorkerHarness):
    _, lease = take_lease(harness)
    renewed = threading.Event()

    def note(lease: Lease, *, in_hand: int | None) -> None:
        if in_hand == 2 and held.in_hand == 2:
            renewed.set()

    harness.jobs.before(harness.jobs.renew, note)
    with renewer(harness, lease, seconds=0.03) as held:
        held.take(2)

        assert renewed.wait(DEADLINE)


def test_a_hanging_image_is_charged_its_neighbours_are_released_and_the_process_ends(harness: WorkerHarness):
    job_id, lease = take_lease(harness)
    ended = threading.Event()
    held = renewer(harness, lease, image_seconds=0.05, end_process=ended.set)

    with held:
        held.take(0)
        assert ended.wait(DEADLINE)

    assert harness.jobs.held() == ()
    free = harness.jobs.lease("other", limit=3)
    assert free is not None
    assert set(free.indices) <= {1, 2}
    assert harness.jobs.images(job_id).items[0].state is ImageState.PENDING


class HookedLimit(float):
    """A time limit that calls `meanwhile` just when it is exceeded."""

    meanwhile: Callable[[], object]

    def __le__(self, seconds: float) -> bool:
        exceeded = float(self) <= seconds
        if exceeded:
            self.meanwhile()
        return exceeded


@pytest.mark.parametrize("next_image", [None, 1])
def test_a_hanging_image_is_charged_even_if_it_ends_at_that_moment(
    harness: WorkerHarness, next_image: int | None
):
    _, lease = take_lease(harness)
    ended, charged = threading.Event(), list[int]()

    def note(lease: Lease, index: int, failure: ImageFailure) -> None:
        charged.append(index)

    harness.jobs.before(harness.jobs.charge, note)
    limit = HookedLimit(0.05)
    held = renewer(harness, lease, image_seconds=limit, end_process=ended.set)
    limit.meanwhile = held.release if next_image is None else lambda: held.take(next_image)

    with held:
        held.take(0)
        assert ended.wait(DEADLINE)

    assert charged[:1] == [0]


def test_an_image_that_takes_too_much_memory_is_charged_and_its_neighbours_are_released(
    harness: WorkerHarness,
):
    job_id, lease = take_lease(harness)
    ended, heartbeat = threading.Event(), Heartbeat(HeartbeatSlot(), memory_bytes=1)
    heartbeat.start()
    held = renewer(harness, lease, heartbeat=heartbeat, end_process=ended.set)

    held.take(1)
    with held:
        assert ended.wait(DEADLINE)

    free = harness.jobs.lease("other", limit=3)
    assert free is not None
    assert 1 not in free.indices
    assert harness.jobs.images(job_id).items[1].state is ImageState.PENDING


def test_the_image_in_hand_is_charged_for_the_memory_though_the_child_holds_another_lease(
    harness: WorkerHarness,
):
    (_, first), (_, second) = take_lease(harness), take_lease(harness)
    charged: list[tuple[str, int]] = []
    harness.jobs.before(harness.jobs.charge, lambda lease, index, failure: charged.append((lease.id, index)))
    ended, heartbeat = threading.Event(), Heartbeat(HeartbeatSlot(), memory_bytes=1)
    held = renewer(harness, first, heartbeat=heartbeat, end_process=ended.set)

    with held, renewer(harness, second, heartbeat=heartbeat, end_process=lambda: None):
        held.take(1)
        heartbeat.start()
        assert ended.wait(DEADLINE)

    assert harness.jobs.held() == ()
    assert charged[:1] == [(first.id, 1)]


def test_a_stopping_worker_releases_a_slow_image_whose_end_still_counts(harness: WorkerHarness):
    job_id, lease = take_lease(harness)
    held = renewer(harness, lease, draining=True)

    with held:
        held.take(0)
        eventually(lambda: held.dropped)
        taken = harness.jobs.lease("other", limit=3)
        harness.jobs.done(lease, 0)

    assert taken is not None
    assert taken.indices[0] == 0
    assert harness.jobs.get(job_id).counts.succeeded == 1
    harness.clock.advance(60)
    harness.jobs.reap()
    assert harness.jobs.get(job_id).counts.failed == 0


def take_clip(harness: WorkerHarness) -> tuple[str, Lease]:
    job_id = harness.submit(b"a clip", options=Options.parse({"outputs": "clip"}))
    lease = harness.jobs.lease("worker", limit=1)
    assert lease is not None
    return job_id, lease


@pytest.mark.parametrize("verb", ["cancel", "pause", "delete"])
def test_the_end_of_a_job_reaches_a_long_image_long_before_the_next_renewal(
    harness: WorkerHarness, verb: str
):
    job_id, lease = take_clip(harness)

    with renewer(harness, lease, seconds=10_000) as held:
        held.take(0)
        assert not held.is_unwanted()
        getattr(harness.jobs, verb)(job_id)

        eventually(held.is_unwanted)


def test_an_image_of_a_lost_lease_is_wanted_until_its_job_stops(harness: WorkerHarness):
    job_id, lease = take_clip(harness)

    with renewer(harness, lease) as held:
        held.take(0)
        harness.clock.advance(60)
        harness.jobs.reap()
        eventually(lambda: held.dropped)
        assert not held.is_unwanted()
        harness.jobs.cancel(job_id)

        eventually(held.is_unwanted)


def test_a_lease_survives_a_short_outage_of_the_job_store(harness: WorkerHarness):
    _, lease = take_lease(harness)
    held = renewer(harness, lease, seconds=0.03)

    with held:
        held.take(2)
        harness.jobs.away = True
        eventually(lambda: harness.jobs.refused, lambda refused: refused >= 3)
        assert not held.dropped
        harness.jobs.away = False

    assert harness.jobs.holds(lease)


@pytest.mark.parametrize(
    ("cost", "patient", "impatient"), [(4.0, 235.0, 245.0), (1.0, 55.0, 65.0), (0.5, 55.0, 65.0)]
)
def test_an_image_that_costs_more_may_take_longer(
    harness: WorkerHarness, cost: float, patient: float, impatient: float
):
    _, lease = take_lease(harness)
    ended, clock, renewals = threading.Event(), FakeClock(), list[None]()
    dear = replace(lease, cost=cost)
    held = renewer(harness, dear, seconds=0.03, image_seconds=60.0, end_process=ended.set, clock=clock)
    held.take(0)
    harness.jobs.before(harness.jobs.renew, lambda lease, in_hand: renewals.append(None))

    # Each tick renews the lease before it looks at the image, so the second renewal proves the first look.
    with held:
        for looks in (1, 2):
            clock.advance(patient / 2)
            eventually(lambda: len(renewals), looks.__le__)
        clock.advance(1)
        eventually(lambda: len(renewals), (3).__le__)
        assert not ended.is_set()

        clock.advance(impatient - patient - 1)
        assert ended.wait(DEADLINE)


def test_an_image_that_waits_for_a_store_does_not_count_as_hanging(harness: WorkerHarness):
    _, lease = take_lease(harness)
    ended, clock, renewals = threading.Event(), FakeClock(), list[None]()
    held = renewer(harness, lease, end_process=ended.set, clock=clock)
    held.take(0)
    held.release()
    harness.jobs.before(harness.jobs.renew, lambda lease, in_hand: renewals.append(None))

    # Each tick first renews the lease, so the second renewal proves that the first tick found no current image.
    with held:
        for looks in (1, 2):
            clock.advance(100)
            eventually(lambda: len(renewals), looks.__le__)

        assert not ended.is_set()
