"""The contract of every job store for events, abort, expiry, restore and totals.

The fixtures are those of `tests.contracts.job_store`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import InvalidTransition, JobNotFound
from shared.jobs.job import (
    TRANSITIONS,
    Cost,
    Counts,
    ImageFailure,
    ImageState,
    JobState,
    Phase,
    Range,
    Webhook,
    WebhookEvent,
)
from shared.jobstore.port import JobStore
from tests.contracts.job_store import (
    CORRUPT,
    NO_IDS,
    ONE_RANGE,
    SLOW,
    TRACEPARENT,
    Advance,
    a_created,
    a_job,
    end_all_leases,
    end_lease,
    job_in,
    states_of,
    take,
)
from tests.finalizing import claimed, finish_as

NO_IMAGES = ImageFailure(code="no_images", message="The archive holds no image: «写真.zip».")


def events_of(store: JobStore, job_id: str, *, after: str | None = None) -> list[tuple[int | None, str]]:
    """Return the events of a job, which must be complete, as image and state."""
    events = store.events(job_id, after=after)
    assert events.complete
    return [(event.index, event.state) for event in events.events]


class EventsContract:
    def test_all_events_of_a_job_come_in_order(self, store: JobStore) -> None:
        job_id = a_created(store, 3, state=JobState.UPLOADING)
        store.start(job_id)
        lease = take(store)
        store.done(lease, 2)
        store.done(lease, 2)
        store.pause(job_id)
        store.done(lease, 0, failure=CORRUPT)
        store.resume(job_id)
        store.done(lease, 1)
        finish_as(store, job_id, JobState.PARTIAL)
        store.retry(job_id)

        assert events_of(store, job_id) == [
            (None, "uploading"),
            (None, "queued"),
            (None, "processing"),
            (2, "succeeded"),
            (None, "paused"),
            (0, "failed"),
            (None, "queued"),
            (1, "succeeded"),
            (None, "finalizing"),
            (None, "partial"),
            (None, "queued"),
        ]

    def test_a_retried_image_makes_an_event_and_a_released_one_does_not(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store, 2)
        lease = take(store)
        store.charge(lease, 0, SLOW)
        store.renew(lease, in_hand=1)
        advance(16)
        store.reap()
        store.give_back(take(store).id)

        assert events_of(store, job_id)[2:] == [(0, "pending"), (1, "pending")]

    def test_a_failure_at_the_last_attempt_makes_an_event(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        for _ in range(3):
            store.charge(take(store), 0, SLOW)
            advance(6)

        assert events_of(store, job_id)[2:] == [
            (0, "pending"), (0, "pending"), (0, "failed"), (None, "finalizing"),
        ]  # fmt: skip

    def test_a_reader_continues_after_its_last_event(self, store: JobStore) -> None:
        job_id = a_created(store, 3)
        seen = store.last_event(job_id)
        assert events_of(store, job_id, after=seen) == []
        store.done(take(store), 1)

        events = store.events(job_id, after=seen)

        assert [(event.index, event.state) for event in events.events] == [
            (None, "processing"),
            (1, "succeeded"),
        ]
        assert store.last_event(job_id) == events.events[-1].id
        assert events_of(store, job_id, after=events.events[0].id) == [(1, "succeeded")]

    def test_events_come_in_batches(self, store: JobStore) -> None:
        job_id = a_created(store, 8)
        end_lease(store, take(store))
        first = store.events(job_id, limit=4)
        rest = store.events(job_id, after=first.events[-1].id, limit=100)

        assert first.complete
        assert rest.complete
        assert len(first.events) == 4
        assert first.events + rest.events == store.events(job_id).events

    def test_the_last_thousand_events_are_kept_and_a_reader_that_missed_more_notices(
        self, store: JobStore
    ) -> None:
        job_id = a_created(store, 1500)
        begun = store.last_event(job_id)
        lease = take(store, 1500)
        for index in range(300):
            store.done(lease, index)
        near = store.last_event(job_id)
        for index in range(300, 1290):
            store.done(lease, index)

        assert not store.events(job_id).complete
        assert not store.events(job_id, after=begun).complete
        page = store.events(job_id, after=near)
        assert page.complete
        assert [event.index for event in page.events] == list(range(300, 1290))

    @pytest.mark.parametrize("after", ["", "x", "-", "1-1", "0", "9" * 18, "9" * 40, "٣" * 16, "$", "+"])
    def test_events_after_an_unknown_id_are_not_complete(self, store: JobStore, after: str) -> None:
        job_id = a_created(store)

        assert not store.events(job_id, after=after).complete

    def test_events_are_kept_for_an_hour_after_the_end(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        end_all_leases(store)
        finish_as(store, job_id, JobState.SUCCEEDED)
        last = store.last_event(job_id)
        advance(3500)
        assert len(events_of(store, job_id)) == 5
        advance(200)

        assert store.events(job_id).events == ()
        assert not store.events(job_id).complete
        assert store.last_event(job_id) == last
        assert store.events(job_id, after=last).complete

    def test_the_events_of_a_retried_job_do_not_expire(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        end_all_leases(store, failing=frozenset({0}))
        finish_as(store, job_id, JobState.FAILED)
        store.retry(job_id)
        advance(4000)

        assert events_of(store, job_id)[-1] == (None, "queued")

    @pytest.mark.parametrize("job_id", ["unknown2" * 3 + "ab", *NO_IDS])
    def test_an_unknown_job_has_no_events(self, store: JobStore, job_id: str) -> None:
        with pytest.raises(JobNotFound):
            store.events(job_id)
        with pytest.raises(JobNotFound):
            store.last_event(job_id)


class AbortContract:
    @pytest.mark.parametrize("total", [0, 2])
    def test_a_job_that_fails_as_a_whole_is_finalised_first(self, store: JobStore, total: int) -> None:
        job_id = a_created(store, total, state=JobState.UPLOADING)

        job = store.abort(job_id, NO_IMAGES)

        assert (job.state, job.error) == (JobState.FINALIZING, NO_IMAGES)
        finish_as(store, job_id, JobState.FAILED)
        job = store.get(job_id)
        assert (job.state, job.error, job.counts) == (JobState.FAILED, NO_IMAGES, Counts(total=total))
        assert states_of(store, job_id) == [ImageState.CANCELED] * total

    def test_aborting_again_keeps_the_first_reason(self, store: JobStore) -> None:
        job_id = a_created(store, 0, state=JobState.UPLOADING)
        store.abort(job_id, NO_IMAGES)
        assert store.abort(job_id, CORRUPT).error == NO_IMAGES
        finish_as(store, job_id, JobState.FAILED)

        assert store.abort(job_id, CORRUPT).error == NO_IMAGES

    @pytest.mark.parametrize("state", sorted(set(JobState) - set(TRANSITIONS["abort"])))
    def test_only_a_job_that_waits_for_uploads_is_aborted(self, store: JobStore, state: JobState) -> None:
        job_id = job_in(store, state)

        with pytest.raises(InvalidTransition, match="abort needs a job that is uploading"):
            store.abort(job_id, NO_IMAGES)
        assert (store.get(job_id).state, store.get(job_id).error) == (state, None)

    def test_an_aborted_job_has_nothing_to_retry(self, store: JobStore) -> None:
        job_id = a_created(store, 2, state=JobState.UPLOADING)
        store.abort(job_id, NO_IMAGES)
        finish_as(store, job_id, JobState.FAILED)

        with pytest.raises(InvalidTransition, match="before it had images"):
            store.retry(job_id)
        assert store.get(job_id).state is JobState.FAILED

    @pytest.mark.parametrize("job_id", ["unknown2" * 3 + "ab", *NO_IDS])
    def test_an_unknown_job_is_not_aborted(self, store: JobStore, job_id: str) -> None:
        with pytest.raises(JobNotFound):
            store.abort(job_id, NO_IMAGES)


class ExpiryContract:
    @pytest.mark.parametrize("state", JobState)
    def test_jobs_expire_as_the_table_of_states_says(
        self, store: JobStore, advance: Advance, state: JobState
    ) -> None:
        job_id = job_in(store, state)
        advance(100)
        may_go = state in TRANSITIONS["expire"]

        assert store.expirable(before=store.now() - 50, limit=100) == ((job_id,) if may_go else ())
        assert store.expirable(before=store.now() - 150, limit=100) == ()
        if may_go or state is JobState.EXPIRED:
            store.expire(job_id, before=store.now() + 1)
            assert store.get(job_id).state is JobState.EXPIRED
        else:
            with pytest.raises(InvalidTransition, match=f"The job is {state}"):
                store.expire(job_id, before=store.now() + 1)
            assert store.get(job_id).state is state

    def test_the_oldest_expirable_jobs_come_first_and_in_batches(
        self, store: JobStore, advance: Advance
    ) -> None:
        ids = []
        for _ in range(4):
            ids.append(job_in(store, JobState.SUCCEEDED))
            advance(10)

        assert store.expirable(before=store.now() - 15, limit=2) == (ids[0], ids[1])
        assert store.expirable(before=store.now() - 15, limit=100) == (ids[0], ids[1], ids[2])

    def test_touching_a_job_restarts_its_idle_time(self, store: JobStore, advance: Advance) -> None:
        job_id = job_in(store, JobState.PAUSED)
        advance(100)
        store.resume(job_id)
        assert store.expirable(before=store.now(), limit=100) == ()
        store.pause(job_id)
        advance(10)

        assert store.expirable(before=store.now() - 50, limit=100) == ()
        assert store.expirable(before=store.now(), limit=100) == (job_id,)

    def test_a_job_touched_after_it_was_found_does_not_expire(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = job_in(store, JobState.PAUSED)
        advance(100)
        before = store.now() - 50
        assert store.expirable(before=before, limit=100) == (job_id,)
        store.resume(job_id)
        store.pause(job_id)

        with pytest.raises(InvalidTransition):
            store.expire(job_id, before=before)
        assert store.get(job_id).state is JobState.PAUSED
        advance(100)
        store.expire(job_id, before=store.now() - 50)
        store.expire(job_id, before=before)
        assert store.get(job_id).state is JobState.EXPIRED

    def test_the_record_of_an_expired_job_remains(self, store: JobStore) -> None:
        job_id = job_in(store, JobState.PARTIAL)
        before = store.get(job_id)

        store.expire(job_id, before=store.now() + 1)
        store.expire(job_id, before=store.now() + 1)

        after = store.get(job_id)
        assert after.state is JobState.EXPIRED
        assert (after.counts, after.ended_at) == (before.counts, before.ended_at)
        assert store.images(job_id).items == ()
        assert store.images(job_id, state=ImageState.SUCCEEDED).items == ()
        assert list(store.failures(job_id)) == []
        assert store.expirable(before=store.now() + 10, limit=100) == ()

    def test_a_paused_jobs_leases_end_with_it(self, store: JobStore) -> None:
        job_id = a_created(store, 4)
        lease = take(store, 2)
        store.pause(job_id)

        store.expire(job_id, before=store.now() + 1)

        assert store.renew(lease, in_hand=0) is None
        assert store.done(lease, 0) is None
        store.give_back(lease.id)
        assert store.get(job_id).counts == Counts(total=4)
        assert store.totals().leases == 0

    @pytest.mark.parametrize("job_id", ["unknown2" * 3 + "ab", *NO_IDS])
    def test_an_unknown_job_counts_as_expired(self, store: JobStore, job_id: str) -> None:
        store.expire(job_id, before=store.now() + 1)


class RestoreContract:
    def test_a_restored_unknown_job_continues_where_it_stopped(self, store: JobStore) -> None:
        hook = Webhook(url="https://example.org/", events=(WebhookEvent.ENDED, WebhookEvent.PROGRESS))
        cost = Cost(measure=0.6, render=1.4)
        job = a_job(20, owner="me", bytes=7, weight=2.0, cost=cost, webhook=hook, traceparent=TRACEPARENT)

        store.restore(job, succeeded=range(0, 20, 2), failures={1: CORRUPT, 3: SLOW})

        restored = store.get(job.id)
        assert restored == a_job(
            20, id=job.id, owner="me", bytes=7, weight=2.0, cost=cost, webhook=hook, traceparent=TRACEPARENT,
            counts=Counts(total=20, succeeded=10, failed=2),
        )  # fmt: skip
        assert [image.failure for image in store.failures(job.id)] == [CORRUPT, SLOW]
        assert take(store, 20).indices == (5, 7, 9, 11, 13, 15, 17, 19)
        assert store.totals().unfinished_images == 8

    @pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.EXPIRED}))
    def test_a_restored_unknown_job_has_its_state(self, store: JobStore, state: JobState) -> None:
        job = a_job(4, state=state)

        for _ in range(2):
            store.restore(job, succeeded=[0, 1], failures={2: CORRUPT})

        restored = store.get(job.id)
        assert (restored.state, restored.counts) == (state, Counts(total=4, succeeded=2, failed=1))
        assert states_of(store, job.id)[:3] == ["succeeded", "succeeded", "failed"]
        waits = state in (JobState.FINALIZING, JobState.CANCELING)
        assert claimed(store) == (job.id if waits else None)

    def test_a_restored_ended_job_keeps_its_times(self, store: JobStore, advance: Advance) -> None:
        old = a_job(2, state=JobState.SUCCEEDED, created_at=10.0, started_at=11.25, ended_at=12.5)
        new = a_job(2, state=JobState.FAILED, created_at=20.0, ended_at=store.now() - 5)
        now = a_job(2, state=JobState.CANCELED, created_at=30.0)
        for job in (new, now, old):
            store.restore(job, succeeded=[0])

        found = store.get(old.id)
        assert (found.created_at, found.started_at, found.ended_at) == (10.0, 11.25, 12.5)
        assert store.get(now.id).ended_at == pytest.approx(store.now(), abs=2)
        assert [job.id for job in store.list().items] == [now.id, new.id, old.id]
        assert store.expirable(before=store.now() - 4, limit=100) == (old.id, new.id)

    def test_the_record_of_an_expired_job_is_restored(self, store: JobStore) -> None:
        job = a_job(2, state=JobState.EXPIRED, bytes=100)

        store.restore(job, succeeded=[0])

        assert store.get(job.id).state is JobState.EXPIRED
        assert store.images(job.id).items == ()
        assert store.totals().jobs == {JobState.EXPIRED: 1}

    def test_an_aborted_job_keeps_its_reason(self, store: JobStore) -> None:
        job = a_job(0, state=JobState.FAILED, error=NO_IMAGES)

        store.restore(job)

        assert store.get(job.id).error == NO_IMAGES

    def test_a_job_that_has_all_its_outcomes_waits_to_be_finalised(self, store: JobStore) -> None:
        job = a_job(3)

        store.restore(job, succeeded=[0, 1], failures={2: CORRUPT})

        assert store.get(job.id).state is JobState.FINALIZING
        assert claimed(store) == job.id

    def test_restoring_a_known_job_adds_missing_outcomes(self, store: JobStore) -> None:
        job = a_job(10)
        store.create(job)
        lease = take(store, 4)
        store.done(lease, 0)
        store.done(lease, 1, failure=CORRUPT)
        store.give_back(lease.id)

        for _ in range(2):
            store.restore(job, succeeded=[0, 1, 2, 5, 9], failures={0: SLOW, 6: SLOW})

        found = store.get(job.id)
        assert (found.state, found.counts) == (JobState.PROCESSING, Counts(total=10, succeeded=4, failed=2))
        assert [image.failure for image in store.failures(job.id)] == [CORRUPT, SLOW]
        assert [take(store).indices for _ in range(2)] == [(3,), (4, 7, 8)]
        assert store.lease("worker", limit=8) is None

    def test_a_restored_outcome_removes_the_image_from_its_lease(self, store: JobStore) -> None:
        job = a_job(2)
        store.create(job)
        lease = take(store)

        store.restore(job, succeeded=[0])

        assert store.done(lease, 0, failure=CORRUPT) is JobState.PROCESSING
        assert store.done(lease, 1) is JobState.FINALIZING
        assert store.get(job.id).counts == Counts(total=2, succeeded=2)

    def test_restoring_the_end_of_a_known_job_ends_it(self, store: JobStore) -> None:
        job = a_job(4)
        store.create(job)
        lease = take(store)

        store.restore(a_job(4, id=job.id, state=JobState.CANCELED, ended_at=50.0), succeeded=[1])

        found = store.get(job.id)
        assert (found.state, found.ended_at) == (JobState.CANCELED, 50.0)
        assert states_of(store, job.id) == ["canceled", "succeeded", "canceled", "canceled"]
        assert store.renew(lease, in_hand=0) is None
        assert store.done(lease, 0) is None
        assert store.lease("worker", limit=8) is None
        assert store.totals().unfinished_images == 0

    def test_a_job_that_was_being_finalised_is_not_claimed_after_its_end(self, store: JobStore) -> None:
        job_id = job_in(store, JobState.FINALIZING)

        store.restore(a_job(2, id=job_id, state=JobState.SUCCEEDED), succeeded=[0, 1])

        assert store.claim_finalize() is None
        assert store.get(job_id).state is JobState.SUCCEEDED

    @pytest.mark.parametrize("state", [JobState.QUEUED, JobState.SUCCEEDED])
    def test_restoring_a_known_ended_job_changes_nothing(self, store: JobStore, state: JobState) -> None:
        job_id = job_in(store, JobState.PARTIAL)
        before = store.get(job_id)

        store.restore(a_job(2, id=job_id, state=state), succeeded=[0, 1])

        assert store.get(job_id) == before

    @pytest.mark.parametrize("state", [JobState.PAUSED, JobState.CANCELING, JobState.UPLOADING])
    def test_restoring_a_known_job_keeps_its_state(self, store: JobStore, state: JobState) -> None:
        job_id = job_in(store, state)

        store.restore(a_job(2, id=job_id), succeeded=[1])

        assert store.get(job_id).state is state

    def test_a_restored_job_takes_its_turn(self, store: JobStore) -> None:
        other = a_created(store, 1000, owner="you")
        for _ in range(20):
            take(store)
        job = a_job(100, owner="me")
        store.restore(job, succeeded=range(50))

        assert {take(store).job_id for _ in range(3)} == {job.id, other}

    def test_a_hundred_thousand_outcomes_are_restored(self, store: JobStore) -> None:
        job = a_job(100_000)

        store.restore(job, succeeded=range(99_998), failures={99_999: CORRUPT})

        assert store.get(job.id).counts == Counts(total=100_000, succeeded=99_998, failed=1)
        assert take(store).indices == (99_998,)

    @pytest.mark.parametrize("outcomes", [{"succeeded": [10]}, {"succeeded": [-1]}, {"failures": {10: SLOW}}])
    def test_an_image_that_the_job_does_not_have_is_refused(
        self, store: JobStore, outcomes: dict[str, Any]
    ) -> None:
        with pytest.raises(ValueError, match="no"):
            store.restore(a_job(10), **outcomes)
        assert store.list().items == ()

    def test_readers_of_events_notice_a_restore(self, store: JobStore, advance: Advance) -> None:
        job = a_job(10)
        store.create(job)
        end_lease(store, take(store))
        seen = store.last_event(job.id)
        advance(1)
        store.delete(job.id)

        store.restore(job, succeeded=range(4))

        assert not store.events(job.id, after=seen).complete
        assert events_of(store, job.id) == [(None, "queued")]
        known = store.last_event(job.id)
        advance(1)
        store.restore(job, succeeded=range(5))
        assert not store.events(job.id, after=known).complete

    def test_a_job_normalised_as_a_whole_is_measured_again_if_its_range_is_lost(
        self, store: JobStore
    ) -> None:
        job = a_job(4, options=ONE_RANGE)

        store.restore(job, succeeded=[0, 1], failures={2: CORRUPT})

        lease = take(store)
        assert (lease.indices, lease.phase) == ((0, 1, 3), Phase.MEASURE)
        assert store.get(job.id).counts == Counts(total=4, failed=1)

    def test_a_job_normalised_as_a_whole_continues_rendering_if_its_range_is_known(
        self, store: JobStore
    ) -> None:
        job = a_job(4, options=ONE_RANGE)

        store.restore(job, succeeded=[0, 1], failures={2: CORRUPT}, common=Range(low=0.1, high=2.5))

        assert store.get(job.id).progress == pytest.approx(7 / 8)
        lease = take(store)
        assert (lease.indices, lease.phase, lease.range) == ((3,), Phase.RENDER, Range(low=0.1, high=2.5))
        assert end_lease(store, lease) is JobState.FINALIZING

    def test_a_known_job_that_was_measuring_skips_to_rendering(
        self, store: JobStore, advance: Advance
    ) -> None:
        job = a_job(4, options=ONE_RANGE)
        store.create(job)
        store.charge(take(store, 1), 0, SLOW)
        measuring = take(store, 2)
        store.measured(measuring, 1, Range(low=-5, high=5))

        store.restore(job, succeeded=[3], common=Range(low=0, high=1))

        assert store.measured(measuring, 2, Range(low=-9, high=9)) is None
        lease = take(store)
        assert (lease.indices, lease.phase, lease.range) == ((0, 1, 2), Phase.RENDER, Range(low=0, high=1))

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_range_that_is_restored_has_finite_ends(self, store: JobStore, value: float) -> None:
        with pytest.raises(ValueError, match="finite"):
            store.restore(a_job(options=ONE_RANGE), common=Range(low=0.0, high=value))

    def test_a_retry_after_a_restored_end_measures_again_if_the_range_is_lost(self, store: JobStore) -> None:
        job = a_job(3, options=ONE_RANGE, state=JobState.PARTIAL)
        store.restore(job, succeeded=[0, 1], failures={2: CORRUPT})
        assert store.get(job.id).counts == Counts(total=3, succeeded=2, failed=1)

        assert store.retry(job.id).counts == Counts(total=3)

        lease = take(store)
        assert (lease.indices, lease.phase) == ((0, 1, 2), Phase.MEASURE)

    def test_a_retry_after_a_restored_end_covers_the_failed_images(self, store: JobStore) -> None:
        job = a_job(20, state=JobState.PARTIAL, started_at=5.0, ended_at=6.0)
        store.restore(job, succeeded=range(18), failures={18: SLOW, 19: SLOW})

        assert store.retry(job.id).state is JobState.QUEUED

        assert take(store).indices == (18, 19)

    def test_a_store_is_reconciled_only_after_it_was_marked(self, store: JobStore) -> None:
        assert not store.is_reconciled()
        assert not store.is_reconciled()
        store.mark_reconciled()

        assert store.is_reconciled()


class UnwrittenContract:
    def fail(self, store: JobStore, advance: Advance, job_id: str) -> None:
        """Fail the only image of a job by using up its attempts."""
        for _ in range(3):
            store.charge(take(store), 0, SLOW)
            advance(6)
        assert store.get(job_id).counts.failed == 1

    def test_a_failure_at_the_last_attempt_is_unwritten_until_it_is_marked(
        self, store: JobStore, advance: Advance
    ) -> None:
        ids = [a_created(store, 1) for _ in range(2)]
        for job_id in ids:
            store.pause(job_id)
        for job_id in ids:
            store.resume(job_id)
            self.fail(store, advance, job_id)

        found = store.unwritten_failures()

        assert [(job_id, image.index, image.state, image.failure) for job_id, image in found] == [
            (job_id, 0, ImageState.FAILED, SLOW) for job_id in ids
        ]
        assert store.unwritten_failures(limit=1) == found[:1]
        store.mark_written(ids[0], [0])
        store.mark_written(ids[0], [0, 5])
        store.mark_written(ids[1], [])
        assert store.unwritten_failures() == found[1:]

    def test_a_crash_at_the_last_attempt_is_unwritten_too(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        for _ in range(3):
            store.renew(take(store), in_hand=0)
            advance(21)
            store.reap()
            advance(6)

        assert [(id, image.index) for id, image in store.unwritten_failures()] == [(job_id, 0)]

    def test_a_failure_recorded_by_a_worker_is_not_unwritten(self, store: JobStore) -> None:
        a_created(store, 1)
        store.done(take(store), 0, failure=CORRUPT)

        assert store.unwritten_failures() == ()

    @pytest.mark.parametrize(
        "change",
        [
            lambda store, id: store.delete(id),
            lambda store, id: store.expire(id, before=store.now() + 1),
            lambda store, id: store.retry(id),
        ],
        ids=["delete", "expire", "retry"],
    )
    def test_retried_images_are_left_out_of_unwritten_failures(
        self, store: JobStore, advance: Advance, change: Callable[[JobStore, str], object]
    ) -> None:
        job_id = a_created(store, 1)
        self.fail(store, advance, job_id)
        finish_as(store, job_id, JobState.FAILED)

        change(store, job_id)

        assert store.unwritten_failures() == ()


class TotalsContract:
    def test_totals_count_all_jobs(self, store: JobStore, advance: Advance) -> None:
        running = [JobState.PROCESSING, JobState.QUEUED]
        # The running jobs come last, because later steps would finish them.
        for state in [*(set(JobState) - set(running)), *running]:
            job_in(store, state)
            store.claim_finalize()
        a_created(store, 5, owner="another", state=JobState.UPLOADING)

        totals = store.totals()

        assert totals.jobs == {state: 1 for state in JobState} | {JobState.UPLOADING: 2}
        # Two jobs in each state that waits, runs or is paused, and five more.
        assert totals.unfinished_images == 2 * 4 + 5
        assert totals.outcomes == {"succeeded": 5, "image_corrupt": 3}

    def test_an_empty_store_has_no_totals(self, store: JobStore) -> None:
        totals = store.totals()

        assert (totals.jobs, totals.unfinished_images, totals.leases) == ({}, 0, 0)
        assert (totals.outcomes, totals.workers) == ({}, {})

    def test_new_outcomes_are_counted_and_restored_ones_are_not(self, store: JobStore) -> None:
        job_id = a_created(store, 3)
        lease = take(store)
        store.done(lease, 0)
        store.done(lease, 0)
        store.done(lease, 1, failure=SLOW)
        store.delete(job_id)
        store.restore(a_job(5), succeeded=[0, 1], failures={2: CORRUPT})

        assert store.totals().outcomes == {"succeeded": 1, "timed_out": 1}

    def test_leases_and_living_workers_are_counted(self, store: JobStore, advance: Advance) -> None:
        a_created(store, 10)
        take(store, 4)
        store.give_back(take(store, 4).id)
        store.register_worker("old", 4)
        advance(10)
        store.register_worker("new", 2)
        assert store.totals().workers == {"old": 4, "new": 2}
        advance(6)

        totals = store.totals()

        assert (totals.leases, totals.workers) == (1, {"new": 2})

    def test_the_clock_advances(self, store: JobStore, advance: Advance) -> None:
        a_created(store, 1)
        take(store)

        assert store.list().items[0].started_at == pytest.approx(store.now(), abs=2)


class JobLivesContract(
    EventsContract, AbortContract, ExpiryContract, RestoreContract, UnwrittenContract, TotalsContract
):
    """The whole contract."""
