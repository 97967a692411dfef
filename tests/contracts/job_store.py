"""The contract of every job store.

A subclass provides the fixtures `store` (empty, with the defaults: leases of 15 seconds, three attempts,
retries after 1 and 5 seconds), `patient_store` (the same, with the times of `PATIENT`) and `advance`, which lets
seconds pass for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fathom.options import Options
from shared.errors import InvalidTransition, JobNotFound, RequestError
from shared.jobs.job import (
    ALREADY,
    TRANSITIONS,
    Counts,
    FinalizeClaim,
    ImageFailure,
    ImageState,
    Job,
    JobState,
    Lease,
    Phase,
    Range,
    new_job_id,
)
from shared.jobstore.port import JobStore
from tests.finalizing import claim, claimed, finish_as

Advance = Callable[[float], None]

#: So long that what must not happen yet does not happen while a busy machine stands still.
PATIENT: dict[str, Any] = {"lease_seconds": 1500.0, "retry_delays": (100.0, 500.0)}

CORRUPT = ImageFailure(code="image_corrupt", message="The file is damaged: «café» 写真.")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SLOW = ImageFailure(code="timed_out", message="It took too long.")
ONE_RANGE = Options.parse({"normalize": "job"})
VERBS = ("start", "pause", "resume", "cancel", "retry")
#: No key may contain any of these.
NO_IDS = ["", "x", "a" * 25, "a" * 27, "A" * 26, "{other}" + "a" * 19, "a" * 23 + ":ok", "../" + "a" * 23]


def a_job(total: int = 10, **changes: Any) -> Job:
    fields: dict[str, Any] = {
        "id": new_job_id(),
        "state": JobState.QUEUED,
        "options": Options(),
        "counts": Counts(total=total),
        "created_at": 1_700_000_000.25,
    }
    return Job(**(fields | changes))


def a_created(store: JobStore, total: int = 10, **changes: Any) -> str:
    job = a_job(total, **changes)
    store.create(job)
    return job.id


def take(store: JobStore, limit: int = 8) -> Lease:
    lease = store.lease("worker", limit=limit)
    assert lease is not None
    return lease


def end_lease(store: JobStore, lease: Lease, *, failing: frozenset[int] = frozenset()) -> JobState | None:
    """End all images of a lease and return what the last call returned."""
    state = None
    for index in lease.indices:
        state = store.done(lease, index, failure=CORRUPT if index in failing else None)
    return state


def end_all_leases(store: JobStore, *, failing: frozenset[int] = frozenset(), limit: int = 8) -> None:
    while (lease := store.lease("worker", limit=limit)) is not None:
        end_lease(store, lease, failing=failing)


def job_in(store: JobStore, state: JobState) -> str:
    """Bring a job of two images to a state through the usual calls."""
    job_id = a_created(store, 2, state=JobState.UPLOADING)
    if state is JobState.UPLOADING:
        return job_id
    store.start(job_id)
    if state in (JobState.PROCESSING, JobState.PAUSED):
        store.give_back(take(store).id)
    if state is JobState.PAUSED:
        store.pause(job_id)
    if state in (JobState.CANCELING, JobState.CANCELED, JobState.EXPIRED):
        store.cancel(job_id)
    failing = {JobState.FAILED: frozenset({0, 1}), JobState.PARTIAL: frozenset({0})}
    if state in (JobState.FINALIZING, JobState.SUCCEEDED, JobState.PARTIAL, JobState.FAILED):
        end_all_leases(store, failing=failing.get(state, frozenset()))
    if state is JobState.EXPIRED:
        finish_as(store, job_id, JobState.CANCELED)
        store.expire(job_id, before=store.now() + 1)
    elif state.ended:
        finish_as(store, job_id, state)
    assert store.get(job_id).state is state
    return job_id


def states_of(store: JobStore, job_id: str) -> list[ImageState]:
    return [image.state for image in store.images(job_id, limit=1000).items]


class JobsContract:
    def test_a_job_round_trips(self, store: JobStore) -> None:
        options = Options.parse({"outputs": ["depth16", "heatmap"], "clip": [0.5, 99.25], "invert": True})
        job = a_job(100_000, options=options, weight=2.5)

        store.create(job)

        assert store.get(job.id) == job

    def test_a_job_normalised_as_a_whole_starts_by_measuring(self, store: JobStore) -> None:
        assert store.get(a_created(store, options=ONE_RANGE)).phase is Phase.MEASURE

    def test_creating_a_job_again_changes_nothing(self, store: JobStore) -> None:
        job = a_job()
        store.create(job)
        end_lease(store, take(store, 3))

        store.create(job)

        assert store.get(job.id).counts.succeeded == 3
        assert len(store.list().items) == 1

    @pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.UPLOADING, JobState.QUEUED}))
    def test_a_new_job_is_uploading_or_queued(self, store: JobStore, state: JobState) -> None:
        with pytest.raises(ValueError, match=state):
            store.create(a_job(state=state))

    @pytest.mark.parametrize("changes", [{"id": "../etc"}, {"weight": 0.0}, {"weight": float("nan")}])
    def test_an_invalid_job_is_refused(self, store: JobStore, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="positive weight"):
            store.create(a_job(**changes))

    @pytest.mark.parametrize("job_id", ["unknown2" * 3 + "ab", *NO_IDS])
    @pytest.mark.parametrize(
        "ask",
        [
            lambda store, id: store.get(id),
            lambda store, id: store.start(id),
            lambda store, id: store.cancel(id),
            lambda store, id: store.pause(id),
            lambda store, id: store.resume(id),
            lambda store, id: store.retry(id),
            lambda store, id: store.images(id),
            lambda store, id: list(store.failures(id)),
            lambda store, id: store.finish(FinalizeClaim(job_id=id, number=1), JobState.FAILED),
        ],
        ids=["get", "start", "cancel", "pause", "resume", "retry", "images", "failures", "finish"],
    )
    def test_an_unknown_job_is_not_found(
        self, store: JobStore, ask: Callable[[JobStore, str], object], job_id: str
    ) -> None:
        a_created(store)

        with pytest.raises(JobNotFound):
            ask(store, job_id)

    @pytest.mark.parametrize("job_id", ["unknown2" * 3 + "ab", *NO_IDS])
    def test_deleting_an_unknown_job_is_no_error(self, store: JobStore, job_id: str) -> None:
        known = a_created(store)

        store.delete(job_id)

        assert [job.id for job in store.list().items] == [known]

    def test_jobs_are_listed_newest_first(self, store: JobStore) -> None:
        ids = [a_created(store, created_at=float(at)) for at in (3, 1, 10, 2)]

        assert [job.id for job in store.list().items] == [ids[2], ids[0], ids[3], ids[1]]

    def test_pages_contain_every_job_once_even_with_equal_times(self, store: JobStore) -> None:
        ids = {a_created(store, created_at=5.0) for _ in range(7)}
        seen: list[str] = []
        cursor = None
        for _ in range(4):
            page = store.list(cursor=cursor, limit=2)
            seen += [job.id for job in page.items]
            cursor = page.next_cursor

        assert cursor is None
        assert sorted(seen) == sorted(ids)

    def test_a_full_last_page_has_no_cursor(self, store: JobStore) -> None:
        for at in range(4):
            a_created(store, created_at=float(at))

        assert store.list(limit=4).next_cursor is None
        assert store.list(limit=3).next_cursor is not None

    def test_changes_between_two_pages_do_not_shift_them(self, store: JobStore) -> None:
        ids = [a_created(store, created_at=float(at)) for at in range(6)]
        first = store.list(limit=3)
        a_created(store, created_at=100.0)
        store.delete(ids[3])

        second = store.list(limit=3, cursor=first.next_cursor)

        assert [job.id for job in first.items] == [ids[5], ids[4], ids[3]]
        assert [job.id for job in second.items] == [ids[2], ids[1], ids[0]]

    @pytest.mark.parametrize("cursor", ["", "0", "+", "-", "[x", "٣" * 17 + ":" + "a" * 26, "0" * 17 + ":x"])
    def test_a_cursor_that_no_list_returned_is_refused(self, store: JobStore, cursor: str) -> None:
        with pytest.raises(RequestError):
            store.list(cursor=cursor)

    def test_a_deleted_job_is_gone_and_its_leases_with_it(self, store: JobStore) -> None:
        job_id = a_created(store)
        lease = take(store, 3)

        store.delete(job_id)
        store.delete(job_id)

        assert store.list().items == ()
        assert store.renew(lease, in_hand=0) is None
        assert store.done(lease, 0) is None
        assert store.charge(lease, 1, SLOW) is None
        store.give_back(lease.id)
        assert store.lease("worker", limit=8) is None
        with pytest.raises(JobNotFound):
            store.get(job_id)

    def test_a_deleted_job_no_longer_waits_to_be_finalised(self, store: JobStore) -> None:
        store.delete(job_in(store, JobState.FINALIZING))

        assert store.claim_finalize() is None


class TransitionsContract:
    @pytest.mark.parametrize("state", JobState)
    @pytest.mark.parametrize("verb", VERBS)
    def test_the_store_and_the_table_of_states_agree(
        self, store: JobStore, verb: str, state: JobState
    ) -> None:
        job_id = job_in(store, state)
        ask = getattr(store, verb)

        if state in TRANSITIONS[verb]:
            assert ask(job_id).state is TRANSITIONS[verb][state]
        elif state in ALREADY[verb]:
            assert ask(job_id).state is state
        else:
            with pytest.raises(InvalidTransition, match=f"The job is {state}; {verb} needs"):
                ask(job_id)
            assert store.get(job_id).state is state

    @pytest.mark.parametrize("state", JobState)
    def test_leasing_follows_the_table_of_states(self, store: JobStore, state: JobState) -> None:
        job_id = job_in(store, state)

        lease = store.lease("worker", limit=1)

        assert (lease is not None) == (state in TRANSITIONS["lease"])
        assert store.get(job_id).state is TRANSITIONS["lease"].get(state, state)

    @pytest.mark.parametrize("state", TRANSITIONS["complete"])
    def test_the_last_image_completes_a_job_in_every_open_state(
        self, store: JobStore, state: JobState
    ) -> None:
        job_id = a_created(store, 1)
        lease = take(store)
        if state in (JobState.PAUSED, JobState.QUEUED):
            store.pause(job_id)
        if state is JobState.QUEUED:
            store.resume(job_id)
        assert store.get(job_id).state is state

        assert store.done(lease, 0) is TRANSITIONS["complete"][state]
        assert claimed(store) == job_id

    def test_a_paused_job_gets_no_leases_and_continues_where_it_stopped(self, store: JobStore) -> None:
        job_id = a_created(store)
        lease = take(store, 4)
        assert store.done(lease, 0) is JobState.PROCESSING

        store.pause(job_id)

        assert store.done(lease, 1) is JobState.PAUSED
        store.give_back(lease.id)
        assert store.lease("worker", limit=8) is None
        assert store.pending_chunks(8, at_most=10) == 0
        store.resume(job_id)
        end_all_leases(store)
        assert store.get(job_id).counts == Counts(total=10, succeeded=10)

    def test_a_canceled_job_waits_for_leased_images(self, store: JobStore) -> None:
        job_id = a_created(store)
        lease = take(store, 4)

        assert store.cancel(job_id).state is JobState.CANCELING

        assert store.claim_finalize() is None
        assert store.renew(lease, in_hand=0) is JobState.CANCELING
        assert store.done(lease, 0) is JobState.CANCELING
        store.give_back(lease.id)
        ending = claim(store, job_id)
        assert store.get(job_id).state is JobState.CANCELING
        store.finish(ending, JobState.CANCELED)
        assert store.get(job_id).counts == Counts(total=10, succeeded=1)
        assert states_of(store, job_id) == [ImageState.SUCCEEDED] + [ImageState.CANCELED] * 9

    def test_a_canceled_job_whose_images_all_end_waits_to_be_finalised(self, store: JobStore) -> None:
        job_id = a_created(store, 2)
        lease = take(store)
        store.cancel(job_id)

        assert end_lease(store, lease) is JobState.CANCELING
        assert claimed(store) == job_id

    def test_a_canceled_job_waits_at_most_for_the_lease_of_a_dead_worker(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store)
        lease, other = take(store, 2), take(store, 2)
        store.cancel(job_id)
        store.give_back(other.id)
        assert store.claim_finalize() is None

        advance(16)
        assert store.reap() == 1

        assert claimed(store) == job_id
        assert store.done(lease, 0) is None

    def test_counts_are_frozen_once_a_canceled_job_is_being_finalised(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store)
        late = take(store, 2)
        advance(16)
        store.reap()
        store.cancel(job_id)
        assert claimed(store) == job_id

        store.done(late, 0)
        store.done(late, 1, failure=CORRUPT)

        assert store.get(job_id).counts == Counts(total=10)

    def test_measurements_are_frozen_too(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, options=ONE_RANGE)
        late = take(store, 2)
        advance(16)
        store.reap()
        store.cancel(job_id)

        store.measured(late, 0, Range(low=0, high=1))

        assert store.get(job_id).counts == Counts(total=10)

    def test_a_canceled_job_does_not_begin_its_second_pass(self, store: JobStore) -> None:
        job_id = a_created(store, 1, options=ONE_RANGE)
        lease = take(store)
        store.cancel(job_id)

        assert store.measured(lease, 0, Range(low=0, high=1)) is JobState.CANCELING
        assert claimed(store) == job_id
        assert store.get(job_id).phase is Phase.MEASURE

    def test_canceling_again_does_not_revoke_the_claim(self, store: JobStore) -> None:
        job_id = a_created(store)
        store.cancel(job_id)
        assert claimed(store) == job_id

        store.cancel(job_id)

        assert store.claim_finalize() is None

    @pytest.mark.parametrize("total", [1, 3, 8, 9, 20])
    def test_a_retry_keeps_what_succeeded(self, store: JobStore, total: int) -> None:
        job_id = a_created(store, total + 1)
        end_all_leases(store, failing=frozenset({0}))
        finish_as(store, job_id, JobState.PARTIAL)

        store.retry(job_id)

        assert states_of(store, job_id) == ["pending"] + ["succeeded"] * total

    def test_a_retry_covers_only_failed_images(self, store: JobStore) -> None:
        job_id = a_created(store, 20)
        end_all_leases(store, failing=frozenset({1, 2, 17}))
        finish_as(store, job_id, JobState.PARTIAL)

        job = store.retry(job_id)

        assert (job.state, job.ended_at) == (JobState.QUEUED, None)
        assert job.counts == Counts(total=20, succeeded=17)
        assert list(store.failures(job_id)) == []
        assert take(store).indices == (1, 2, 17)
        assert store.lease("worker", limit=8) is None

    def test_a_retried_job_ends_again(self, store: JobStore) -> None:
        job_id = a_created(store, 3)
        end_all_leases(store, failing=frozenset({0, 1}))
        finish_as(store, job_id, JobState.PARTIAL)
        store.retry(job_id)

        end_all_leases(store, failing=frozenset({1}))

        assert store.get(job_id).counts == Counts(total=3, succeeded=2, failed=1)
        finish_as(store, job_id, JobState.PARTIAL)
        assert [image.index for image in store.failures(job_id)] == [1]

    def test_a_retry_forgets_the_attempts(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        for _ in range(3):
            store.charge(take(store), 0, SLOW)
            advance(6)
        finish_as(store, job_id, JobState.FAILED)
        store.retry(job_id)

        store.charge(take(store), 0, SLOW)

        assert store.get(job_id).counts == Counts(total=1)


class LeasesContract:
    def test_images_are_leased_once_and_in_order(self, store: JobStore) -> None:
        a_created(store, 20)

        leases = [store.lease("worker", limit=8) for _ in range(4)]

        assert [lease.indices for lease in leases if lease] == [
            tuple(range(8)),
            tuple(range(8, 16)),
            tuple(range(16, 20)),
        ]
        assert leases[3] is None

    def test_a_lease_contains_everything_that_a_worker_needs(self, store: JobStore) -> None:
        options = Options.parse({"outputs": ["pfm"]})
        job_id = a_created(store, options=options)

        lease = take(store)

        assert (lease.job_id, lease.options, lease.phase, lease.range) == (
            job_id,
            options,
            Phase.RENDER,
            None,
        )

    def test_lease_ids_are_unique(self, store: JobStore) -> None:
        a_created(store)

        assert len({take(store, 1).id for _ in range(10)}) == 10

    def test_the_first_lease_starts_the_job(self, store: JobStore) -> None:
        job_id = a_created(store)
        assert store.get(job_id).started_at is None

        take(store)

        job = store.get(job_id)
        assert job.state is JobState.PROCESSING
        assert job.started_at is not None

    def test_there_is_nothing_to_lease_without_a_job(self, store: JobStore) -> None:
        assert store.lease("worker", limit=8) is None

    @pytest.mark.parametrize("limit", [0, -1])
    def test_a_lease_has_at_least_one_image(self, store: JobStore, limit: int) -> None:
        with pytest.raises(ValueError, match="at least one"):
            store.lease("worker", limit=limit)

    @pytest.mark.parametrize("traceparent", [None, TRACEPARENT])
    def test_a_lease_contains_the_trace_of_its_job(self, store: JobStore, traceparent: str | None) -> None:
        job_id = a_created(store, 3, traceparent=traceparent)

        lease = take(store)

        assert (lease.traceparent, lease.attempts) == (traceparent, (0, 0, 0))
        assert store.get(job_id).traceparent == traceparent

    def test_a_lease_contains_the_attempts_of_its_images(self, store: JobStore, advance: Advance) -> None:
        a_created(store, 2)
        seen = []
        for _ in range(3):
            lease = take(store, 1)
            seen.append((lease.indices, lease.attempts))
            store.charge(lease, 0, SLOW)
            advance(6)
        lease = take(store, 1)

        assert seen == [((0,), (0,)), ((0,), (1,)), ((0,), (2,))]
        assert (lease.indices, lease.attempts) == ((1,), (0,))

    def test_released_images_are_leased_one_by_one(self, store: JobStore) -> None:
        a_created(store, 6)
        store.give_back(take(store, 3).id)

        leases = [take(store).indices for _ in range(4)]

        assert leases == [(0,), (1,), (2,), (3, 4, 5)]

    def test_releasing_an_image_never_charges_an_attempt(self, store: JobStore) -> None:
        job_id = a_created(store, 1)
        for _ in range(10):
            lease = take(store)
            store.renew(lease, in_hand=0)
            store.give_back(lease.id)
            store.give_back(lease.id)

        assert store.get(job_id).counts == Counts(total=1)
        assert take(store).indices == (0,)
        assert store.lease("worker", limit=8) is None

    def test_ended_images_are_not_released(self, store: JobStore) -> None:
        a_created(store, 3)
        lease = take(store)
        store.done(lease, 1)

        store.give_back(lease.id)

        assert [take(store).indices for _ in range(2)] == [(0,), (2,)]
        assert store.lease("worker", limit=8) is None

    def test_a_released_lease_is_not_held(self, store: JobStore) -> None:
        a_created(store)
        lease = take(store)
        store.give_back(lease.id)

        assert store.renew(lease, in_hand=None) is None

    def test_a_lease_ends_with_its_last_image(self, store: JobStore) -> None:
        a_created(store)
        lease = take(store, 2)

        assert end_lease(store, lease) is JobState.PROCESSING
        assert store.renew(lease, in_hand=None) is None

    @pytest.mark.parametrize(
        "keep",
        [
            lambda store, lease: store.renew(lease, in_hand=None),
            lambda store, lease: store.done(lease, 0),
            lambda store, lease: store.charge(lease, 0, SLOW),
        ],
        ids=["renew", "done", "charge"],
    )
    def test_a_lease_lives_as_long_as_it_is_renewed(
        self, store: JobStore, advance: Advance, keep: Callable[[JobStore, Lease], object]
    ) -> None:
        a_created(store)
        lease = take(store)
        advance(10)
        keep(store, lease)
        advance(10)

        assert store.reap() == 0
        assert store.renew(lease, in_hand=None) is JobState.PROCESSING

    def test_an_expired_lease_can_be_renewed_until_it_is_reaped(
        self, store: JobStore, advance: Advance
    ) -> None:
        a_created(store)
        lease = take(store)
        advance(20)

        assert store.renew(lease, in_hand=0) is JobState.PROCESSING
        assert store.reap() == 0

    @pytest.mark.parametrize("call", ["done", "charge", "measured"])
    def test_an_image_of_another_lease_is_refused(self, store: JobStore, call: str) -> None:
        a_created(store)
        lease = take(store, 2)

        with pytest.raises(ValueError, match="not in this lease"):
            {
                "done": lambda: store.done(lease, 2),
                "charge": lambda: store.charge(lease, -1, SLOW),
                "measured": lambda: store.measured(lease, 9, Range(low=0, high=1)),
            }[call]()


class EndsContract:
    def test_only_the_first_end_of_an_image_counts(self, store: JobStore) -> None:
        job_id = a_created(store, 3)
        lease = take(store)

        store.done(lease, 0)
        store.done(lease, 0)
        store.done(lease, 0, failure=CORRUPT)
        store.done(lease, 1, failure=CORRUPT)
        store.done(lease, 1)

        assert store.get(job_id).counts == Counts(total=3, succeeded=1, failed=1)
        assert [image.index for image in store.failures(job_id)] == [1]

    def test_images_may_end_in_any_order(self, store: JobStore) -> None:
        job_id = a_created(store, 8)
        lease = take(store)

        states = [store.done(lease, index) for index in (7, 3, 0, 5, 1, 6, 2, 4)]

        assert states == [JobState.PROCESSING] * 7 + [JobState.FINALIZING]
        assert store.get(job_id).counts == Counts(total=8, succeeded=8)

    def test_a_failure_is_stored_unchanged(self, store: JobStore) -> None:
        job_id = a_created(store, 1)

        store.done(take(store), 0, failure=CORRUPT)

        (image,) = store.failures(job_id)
        assert (image.index, image.state, image.failure) == (0, ImageState.FAILED, CORRUPT)

    def test_an_end_counts_even_after_the_lease_was_lost(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 2)
        lost = take(store)
        advance(16)
        store.reap()

        assert store.done(lost, 0) is None

        assert store.get(job_id).counts.succeeded == 1
        assert take(store).indices == (1,)
        assert store.lease("worker", limit=8) is None

    def test_an_end_by_a_late_worker_removes_the_image_from_the_lease_of_another(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store, 1)
        late = take(store)
        advance(16)
        store.reap()
        present = take(store)

        assert store.done(late, 0) is None

        assert store.get(job_id).state is JobState.FINALIZING
        assert store.renew(present, in_hand=0) is None
        assert store.done(present, 0, failure=CORRUPT) is None
        assert store.get(job_id).counts == Counts(total=1, succeeded=1)

    def test_a_lost_lease_releases_nothing(self, store: JobStore, advance: Advance) -> None:
        a_created(store, 2)
        lost = take(store)
        advance(16)
        store.reap()
        present = take(store)

        store.give_back(lost.id)

        assert store.renew(present, in_hand=None) is JobState.PROCESSING
        assert take(store).indices == (1,)
        assert store.lease("worker", limit=8) is None


class AttemptsContract:
    def test_the_images_of_a_dead_worker_are_released_and_only_one_is_charged(
        self, patient_store: JobStore, advance: Advance
    ) -> None:
        store = patient_store
        a_created(store, 3)
        lease = take(store)
        store.renew(lease, in_hand=1)
        advance(1600)

        assert store.reap() == 1

        assert [take(store).indices for _ in range(2)] == [(0,), (2,)]
        assert store.lease("worker", limit=8) is None
        advance(110)
        assert take(store).indices == (1,)

    def test_no_lease_expires_early(self, patient_store: JobStore, advance: Advance) -> None:
        a_created(patient_store)
        take(patient_store)
        advance(1400)

        assert patient_store.reap() == 0

    def test_the_third_crash_fails_an_image(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        for crash in range(3):
            assert store.get(job_id).counts.failed == 0, crash
            store.renew(take(store), in_hand=0)
            advance(21)
            assert store.reap() == 1
            advance(6)

        assert store.get(job_id).state is JobState.FINALIZING
        (image,) = store.failures(job_id)
        assert image.failure == ImageFailure(
            code="worker_crashed", message="The picture crashed the worker three times and was given up."
        )

    def test_a_worker_that_dies_without_a_current_image_charges_none(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store, 1)
        for _ in range(5):
            store.renew(take(store), in_hand=None)
            advance(16)
            assert store.reap() == 1

        assert store.get(job_id).counts == Counts(total=1)
        assert take(store).indices == (0,)

    def test_after_an_image_ends_there_is_no_current_image(self, store: JobStore, advance: Advance) -> None:
        a_created(store, 2)
        lease = take(store)
        store.renew(lease, in_hand=0)
        store.done(lease, 0)
        advance(16)
        store.reap()

        assert take(store).indices == (1,)

    def test_a_current_image_that_ended_is_not_charged(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 2)
        lease = take(store)
        store.done(lease, 0)
        store.renew(lease, in_hand=0)
        advance(16)
        store.reap()

        assert store.get(job_id).counts == Counts(total=2, succeeded=1)
        assert take(store).indices == (1,)
        advance(1.1)
        assert store.lease("worker", limit=8) is None

    def test_reaping_twice_charges_once(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        store.renew(take(store), in_hand=0)
        advance(16)

        assert [store.reap() for _ in range(4)] == [1, 0, 0, 0]
        assert store.get(job_id).counts.failed == 0

    def test_a_dead_worker_of_a_paused_job_is_noticed_too(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 2)
        take(store)
        store.pause(job_id)
        advance(16)

        assert store.reap() == 1
        store.resume(job_id)
        assert [take(store).indices for _ in range(2)] == [(0,), (1,)]

    def test_a_charged_image_is_retried_after_growing_delays(
        self, patient_store: JobStore, advance: Advance
    ) -> None:
        store = patient_store
        a_created(store, 1)
        assert store.charge(take(store), 0, SLOW) is JobState.PROCESSING
        advance(40)
        assert store.lease("worker", limit=8) is None
        advance(70)
        assert store.charge(take(store), 0, SLOW) is JobState.PROCESSING
        advance(440)
        assert store.lease("worker", limit=8) is None
        advance(70)

        assert store.charge(take(store), 0, SLOW) is JobState.FINALIZING

    def test_the_last_attempt_fails_with_its_failure(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        for _ in range(3):
            store.charge(take(store), 0, SLOW)
            advance(6)

        assert [image.failure for image in store.failures(job_id)] == [SLOW]

    def test_charging_again_without_a_new_lease_charges_nothing(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store, 2)
        lease = take(store)

        for _ in range(5):
            assert store.charge(lease, 0, SLOW) is JobState.PROCESSING

        assert store.get(job_id).counts == Counts(total=2)
        store.done(lease, 1)
        advance(1.1)
        assert take(store).indices == (0,)

    def test_a_lost_lease_charges_nothing(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1)
        lease = take(store)
        advance(16)
        store.reap()

        for _ in range(3):
            assert store.charge(lease, 0, SLOW) is None

        assert store.get(job_id).counts == Counts(total=1)
        assert take(store).indices == (0,)

    def test_a_retry_that_is_not_due_does_not_delay_the_other_images(self, store: JobStore) -> None:
        a_created(store, 4)
        store.charge(take(store, 1), 0, SLOW)

        assert take(store).indices == (1, 2, 3)


class TwoPassesContract:
    def test_all_images_are_measured_and_then_rendered_with_one_range(self, store: JobStore) -> None:
        job_id = a_created(store, 3, options=ONE_RANGE)
        lease = take(store)
        assert (lease.phase, lease.range) == (Phase.MEASURE, None)
        for index, (low, high) in enumerate([(0.1, 5.0), (-2.5, 1.0), (0.0, 7.75)]):
            state = store.measured(lease, index, Range(low=low, high=high))
        assert state is JobState.PROCESSING

        second = take(store)

        assert (second.indices, second.phase) == ((0, 1, 2), Phase.RENDER)
        assert second.range == Range(low=-2.5, high=7.75)
        assert store.get(job_id).counts == Counts(total=3, measured=3)
        assert end_lease(store, second) is JobState.FINALIZING

    def test_a_range_is_stored_exactly(self, store: JobStore) -> None:
        a_created(store, 1, options=ONE_RANGE)
        exact = Range(low=0.1 + 0.2, high=1e300 / 3)

        store.measured(take(store), 0, exact)

        assert take(store).range == exact

    def test_measuring_twice_counts_once(self, store: JobStore) -> None:
        job_id = a_created(store, 2, options=ONE_RANGE)
        lease = take(store)
        for _ in range(3):
            store.measured(lease, 0, Range(low=0, high=1))

        job = store.get(job_id)
        assert (job.counts.measured, job.phase) == (1, Phase.MEASURE)

    def test_the_second_pass_waits_for_the_last_measurement(self, store: JobStore) -> None:
        a_created(store, 3, options=ONE_RANGE)
        first, last = take(store, 2), take(store, 1)
        for index in first.indices:
            store.measured(first, index, Range(low=0, high=1))

        assert store.lease("worker", limit=8) is None
        store.measured(last, 2, Range(low=0, high=1))
        assert take(store).phase is Phase.RENDER

    def test_images_that_failed_in_the_first_pass_skip_the_second(self, store: JobStore) -> None:
        job_id = a_created(store, 20, options=ONE_RANGE)
        failing = {0, 3, *range(8, 18)}
        while (lease := store.lease("worker", limit=4)) and lease.phase is Phase.MEASURE:
            for index in lease.indices:
                if index in failing:
                    store.done(lease, index, failure=CORRUPT)
                else:
                    store.measured(lease, index, Range(low=0, high=1))

        assert lease is not None
        assert lease.indices + take(store, 20).indices == (1, 2, 4, 5, 6, 7, 18, 19)
        assert store.lease("worker", limit=8) is None
        assert store.get(job_id).counts == Counts(total=20, failed=12, measured=8)

    def test_a_failure_may_open_the_second_pass(self, store: JobStore) -> None:
        a_created(store, 2, options=ONE_RANGE)
        lease = take(store)
        store.measured(lease, 0, Range(low=0, high=1))

        assert store.done(lease, 1, failure=CORRUPT) is JobState.PROCESSING
        assert take(store).indices == (0,)

    def test_a_job_with_nothing_to_measure_has_no_second_pass(self, store: JobStore) -> None:
        job_id = a_created(store, 2, options=ONE_RANGE)

        state = end_lease(store, take(store), failing=frozenset({0, 1}))

        assert state is JobState.FINALIZING
        assert claimed(store) == job_id

    def test_a_measured_image_cannot_fail_in_the_same_pass(self, store: JobStore) -> None:
        job_id = a_created(store, 2, options=ONE_RANGE)
        lease = take(store)
        store.measured(lease, 0, Range(low=0, high=1))

        store.done(lease, 0, failure=CORRUPT)

        assert store.get(job_id).counts == Counts(total=2, measured=1)
        assert store.get(job_id).phase is Phase.MEASURE

    def test_late_calls_of_the_first_pass_are_harmless_in_the_second(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store, 1, options=ONE_RANGE)
        stale = take(store)
        advance(16)
        store.reap()
        store.measured(take(store), 0, Range(low=0, high=1))
        present = take(store)

        assert store.measured(stale, 0, Range(low=-9, high=9)) is None
        assert store.done(stale, 0, failure=CORRUPT) is None
        assert store.charge(stale, 0, SLOW) is None
        assert store.renew(stale, in_hand=0) is None
        store.give_back(stale.id)

        assert present.range == Range(low=0, high=1)
        assert store.get(job_id).counts == Counts(total=1, measured=1)
        assert store.renew(present, in_hand=0) is JobState.PROCESSING
        store.give_back(present.id)
        assert take(store).range == Range(low=0, high=1)

    def test_an_image_that_was_only_measured_is_not_done(self, store: JobStore) -> None:
        a_created(store, options=ONE_RANGE)

        with pytest.raises(ValueError, match="only measured"):
            store.done(take(store), 0)

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_range_has_finite_ends(self, store: JobStore, value: float) -> None:
        a_created(store, options=ONE_RANGE)

        with pytest.raises(ValueError, match="finite"):
            store.measured(take(store), 0, Range(low=value, high=1.0))

    def test_a_retry_renders_with_the_existing_range(self, store: JobStore) -> None:
        job_id = a_created(store, 2, options=ONE_RANGE)
        lease = take(store)
        store.measured(lease, 0, Range(low=2, high=3))
        store.done(lease, 1, failure=CORRUPT)
        end_all_leases(store)
        finish_as(store, job_id, JobState.PARTIAL)

        store.retry(job_id)

        again = take(store)
        assert (again.indices, again.phase, again.range) == ((1,), Phase.RENDER, Range(low=2, high=3))

    def test_a_retry_without_a_range_measures_first(self, store: JobStore) -> None:
        job_id = a_created(store, 2, options=ONE_RANGE)
        end_lease(store, take(store), failing=frozenset({0, 1}))
        finish_as(store, job_id, JobState.FAILED)

        store.retry(job_id)

        again = take(store)
        assert (again.indices, again.phase) == ((0, 1), Phase.MEASURE)

    def test_a_job_paused_between_the_passes_continues_with_the_second(self, store: JobStore) -> None:
        job_id = a_created(store, 1, options=ONE_RANGE)
        lease = take(store)
        store.pause(job_id)

        assert store.measured(lease, 0, Range(low=0, high=1)) is JobState.PAUSED

        assert store.lease("worker", limit=8) is None
        store.resume(job_id)
        assert take(store).phase is Phase.RENDER


class FairnessContract:
    def test_a_small_job_gets_every_second_lease_beside_a_big_one(self, store: JobStore) -> None:
        a_created(store, 1000)
        for _ in range(50):
            take(store)
        small = a_created(store, 24)

        order = [take(store).job_id == small for _ in range(6)]

        assert all(sum(order[:leases]) >= leases // 2 for leases in range(1, 7))

    def test_jobs_share_by_weight(self, store: JobStore) -> None:
        light = a_created(store, 1000)
        heavy = a_created(store, 1000, weight=3.0)

        leases = Counter(take(store).job_id for _ in range(40))

        assert leases == {light: 10, heavy: 30}

    def test_a_resumed_job_does_not_catch_up_on_the_time_of_its_pause(self, store: JobStore) -> None:
        rested, other = a_created(store, 1000), a_created(store, 1000)
        take(store)
        store.pause(rested)
        for _ in range(20):
            take(store)

        store.resume(rested)

        leases = Counter(take(store).job_id for _ in range(10))
        assert abs(leases[rested] - leases[other]) <= 2

    def test_a_job_that_waited_for_retries_does_not_catch_up(self, store: JobStore, advance: Advance) -> None:
        waiting = a_created(store, 8)
        lease = take(store)
        other = a_created(store, 1000)
        for _ in range(20):
            take(store)
        store.give_back(lease.id)

        order = [take(store) for _ in range(9)]

        assert sum(len(lease.indices) for lease in order if lease.job_id == waiting) == 8
        assert sum(lease.job_id == other for lease in order) >= 1

    def test_a_job_with_all_images_leased_does_not_delay_others(self, store: JobStore) -> None:
        a_created(store, 1)
        take(store)
        other = a_created(store, 2)

        assert take(store).job_id == other
        assert store.lease("worker", limit=8) is None

    def test_ten_jobs_take_turns(self, store: JobStore) -> None:
        ids = {a_created(store, 100) for _ in range(10)}

        turns = [{take(store).job_id for _ in range(10)} for _ in range(3)]

        assert turns == [ids] * 3


class FinalizingContract:
    def test_a_job_to_finalise_is_claimed_by_one_caller_for_a_minute(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = job_in(store, JobState.FINALIZING)

        assert claimed(store) == job_id
        advance(55)
        assert store.claim_finalize() is None
        advance(10)
        assert claimed(store) == job_id

    def test_jobs_are_finalised_in_the_order_of_their_ends(self, store: JobStore, advance: Advance) -> None:
        ids = []
        for _ in range(3):
            ids.append(job_in(store, JobState.FINALIZING))
            advance(1)

        assert [claimed(store) for _ in range(4)] == [*ids, None]

    def test_finishing_ends_a_job_once(self, store: JobStore) -> None:
        job_id = job_in(store, JobState.FINALIZING)
        ending = claim(store)
        store.finish(ending, JobState.SUCCEEDED)
        ended_at = store.get(job_id).ended_at

        store.finish(ending, JobState.SUCCEEDED)

        job = store.get(job_id)
        assert (job.state, job.ended_at) == (JobState.SUCCEEDED, ended_at)
        assert ended_at is not None
        assert store.claim_finalize() is None

    @pytest.mark.parametrize(
        "state", sorted(set(JobState) - {JobState.FINALIZING, JobState.CANCELING, JobState.PARTIAL})
    )
    def test_only_a_job_that_waits_to_be_finalised_is_finished(
        self, store: JobStore, state: JobState
    ) -> None:
        job_id = job_in(store, state)

        with pytest.raises(InvalidTransition):
            store.finish(FinalizeClaim(job_id=job_id, number=0), JobState.PARTIAL)
        assert store.get(job_id).state is state

    def test_a_canceled_job_with_a_lease_is_not_finished(self, store: JobStore) -> None:
        job_id = a_created(store)
        take(store)
        store.cancel(job_id)

        with pytest.raises(InvalidTransition):
            store.finish(FinalizeClaim(job_id=job_id, number=0), JobState.CANCELED)

    def test_a_job_cannot_finish_in_a_state_that_is_not_an_end(self, store: JobStore) -> None:
        job_in(store, JobState.FINALIZING)
        with pytest.raises(ValueError, match="queued"):
            store.finish(claim(store), JobState.QUEUED)

    @pytest.mark.parametrize("state", [JobState.PARTIAL, JobState.SUCCEEDED])
    def test_an_overtaken_finaliser_does_not_set_the_end_after_a_retry(
        self, store: JobStore, advance: Advance, state: JobState
    ) -> None:
        job_id = a_created(store, 2)
        end_all_leases(store, failing=frozenset({0}))
        slow = claim(store, job_id)
        advance(65)
        finish_as(store, job_id, JobState.PARTIAL)
        store.retry(job_id)

        for step in (lambda: None, lambda: end_all_leases(store), lambda: finish_as(store, job_id, state)):
            step()
            before = store.get(job_id)
            with pytest.raises(InvalidTransition):
                store.finish(slow, state)
            assert store.get(job_id).state is before.state
        assert before.state is state

    def test_two_claimants_of_the_same_end_may_both_set_it(self, store: JobStore, advance: Advance) -> None:
        job_id = job_in(store, JobState.FINALIZING)
        slow = claim(store)
        advance(65)
        fast = claim(store)

        store.finish(slow, JobState.SUCCEEDED)
        store.finish(fast, JobState.SUCCEEDED)

        assert store.get(job_id).state is JobState.SUCCEEDED

    def test_a_later_end_has_a_greater_number(self, store: JobStore) -> None:
        job_id = a_created(store, 1)
        numbers = []
        for _ in range(3):
            end_all_leases(store, failing=frozenset({0}))
            ending = claim(store, job_id)
            numbers.append(ending.number)
            store.finish(ending, JobState.FAILED)
            store.retry(job_id)

        assert numbers == sorted(set(numbers))

    def test_an_end_claimed_before_a_restore_is_claimed_again(self, store: JobStore) -> None:
        job = a_job(3)
        store.create(job)
        store.cancel(job.id)
        before = claim(store, job.id)
        store.restore(job, succeeded=[0])

        with pytest.raises(InvalidTransition):
            store.finish(before, JobState.CANCELED)
        finish_as(store, job.id, JobState.CANCELED)
        assert store.get(job.id).counts == Counts(total=3, succeeded=1)

    def test_an_ended_job_keeps_its_outcomes(self, store: JobStore) -> None:
        job_id = job_in(store, JobState.PARTIAL)

        assert store.get(job_id).counts == Counts(total=2, succeeded=1, failed=1)
        assert states_of(store, job_id) == [ImageState.FAILED, ImageState.SUCCEEDED]
        assert [image.failure for image in store.failures(job_id)] == [CORRUPT]


class ImagesContract:
    def test_every_image_is_listed_with_its_state(self, store: JobStore) -> None:
        job_id = a_created(store, 6)
        store.done(take(store, 1), 0)
        store.done(take(store, 1), 1, failure=CORRUPT)
        take(store, 2)

        assert states_of(store, job_id) == [
            "succeeded",
            "failed",
            "processing",
            "processing",
            "pending",
            "pending",
        ]

    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            (ImageState.SUCCEEDED, [0, 9, 18]),
            (ImageState.FAILED, [3, 8, 16]),
            (ImageState.PROCESSING, [1, 2, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 17]),
            (ImageState.PENDING, [19, 20]),
            (ImageState.CANCELED, []),
        ],
    )
    def test_images_can_be_filtered_by_state(
        self, store: JobStore, state: ImageState, expected: list[int]
    ) -> None:
        job_id = a_created(store, 21)
        lease = take(store, 19)
        for index in (0, 9, 18):
            store.done(lease, index)
        for index in (3, 8, 16):
            store.done(lease, index, failure=CORRUPT)

        images = store.images(job_id, state=state).items

        assert [image.index for image in images] == expected
        assert {image.state for image in images} <= {state}
        assert all((image.failure == CORRUPT) == (state is ImageState.FAILED) for image in images)

    @pytest.mark.parametrize("limit", [1, 3, 7, 8, 9, 40])
    @pytest.mark.parametrize("state", [None, ImageState.SUCCEEDED, ImageState.FAILED, ImageState.PENDING])
    def test_pages_contain_every_image_once(
        self, store: JobStore, state: ImageState | None, limit: int
    ) -> None:
        job_id = a_created(store, 37)
        lease = take(store, 30)
        end_lease(store, lease, failing=frozenset(range(0, 30, 4)))
        whole = store.images(job_id, state=state, limit=1000)
        pages, cursor = [], 0
        while True:
            page = store.images(job_id, state=state, cursor=cursor, limit=limit)
            pages.append(page.items)
            if page.next_cursor is None:
                break
            cursor = int(page.next_cursor)

        assert whole.next_cursor is None
        assert sum(pages, ()) == whole.items
        assert all(len(page) == limit for page in pages[:-1])

    @pytest.mark.parametrize("state", [None, *ImageState])
    def test_there_is_nothing_beyond_the_last_image(self, store: JobStore, state: ImageState | None) -> None:
        job_id = a_created(store, 10)

        for cursor in (10, 11, 16, 100_000):
            page = store.images(job_id, state=state, cursor=cursor)
            assert (page.items, page.next_cursor) == ((), None)

    @pytest.mark.parametrize("total", [1, 7, 8, 9, 16, 17])
    def test_bits_beyond_the_last_image_are_ignored(self, store: JobStore, total: int) -> None:
        job_id = a_created(store, total)

        assert len(store.images(job_id, state=ImageState.PENDING).items) == total
        end_all_leases(store)
        assert len(store.images(job_id, state=ImageState.SUCCEEDED).items) == total
        assert store.images(job_id, state=ImageState.PENDING).items == ()

    def test_images_without_an_end_in_an_ended_job_are_canceled(self, store: JobStore) -> None:
        job_id = a_created(store, 10)
        end_lease(store, take(store, 3))
        store.cancel(job_id)
        finish_as(store, job_id, JobState.CANCELED)

        assert [i.index for i in store.images(job_id, state=ImageState.CANCELED).items] == [*range(3, 10)]
        assert store.images(job_id, state=ImageState.PENDING).items == ()

    def test_failures_come_in_order_however_many(self, store: JobStore) -> None:
        job_id = a_created(store, 2100)
        lease = take(store, 2100)
        for index in reversed(lease.indices):
            store.done(lease, index, failure=ImageFailure(code="image_corrupt", message=f"No. {index}."))

        failures = list(store.failures(job_id))

        assert [image.index for image in failures] == list(range(2100))
        assert failures[1234].failure == ImageFailure(code="image_corrupt", message="No. 1234.")


class RateContract:
    def test_the_rate_is_unknown_until_an_image_ends(self, store: JobStore) -> None:
        job_id = a_created(store)
        take(store)

        assert store.get(job_id).images_per_second is None

    def test_the_rate_of_a_new_job_is_plausible(self, store: JobStore) -> None:
        job_id = a_created(store, 100)
        end_lease(store, take(store, 40))

        assert store.get(job_id).images_per_second == pytest.approx(40, rel=0.25)

    def test_the_rate_covers_the_last_half_minute(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1000)
        for images in (100, 100, 10, 10, 10, 10, 10, 10, 10):
            end_lease(store, take(store, images))
            advance(5)

        assert store.get(job_id).images_per_second == pytest.approx(2.0, rel=0.25)

    def test_the_rate_is_forgotten_when_nothing_ends_for_long(
        self, store: JobStore, advance: Advance
    ) -> None:
        job_id = a_created(store, 1000)
        end_lease(store, take(store, 100))
        advance(40)

        assert store.get(job_id).images_per_second is None

    def test_a_pause_does_not_slow_the_rate_for_long(self, store: JobStore, advance: Advance) -> None:
        job_id = a_created(store, 1000)
        end_lease(store, take(store, 10))
        advance(300)
        end_lease(store, take(store, 20))

        rate = store.get(job_id).images_per_second
        assert rate is not None
        assert rate >= 20 / 5.5

    def test_an_ended_job_has_no_rate(self, store: JobStore) -> None:
        assert store.get(job_in(store, JobState.SUCCEEDED)).images_per_second is None


class MaintenanceContract:
    def test_slots_are_those_of_the_living_workers(self, store: JobStore, advance: Advance) -> None:
        assert store.slots() == 0
        store.register_worker("a", 4)
        advance(10)
        store.register_worker("b", 2)
        store.register_worker("b", 3)
        assert store.slots() == 7
        advance(6)
        assert store.slots() == 3
        store.forget_worker("b")
        store.forget_worker("never heard of")
        assert store.slots() == 0

    def test_pending_chunks_are_the_leases_that_could_be_taken(self, store: JobStore) -> None:
        assert store.pending_chunks(8, at_most=10) == 0
        a_created(store, 20)
        a_created(store, 8)

        assert store.pending_chunks(8, at_most=10) == 4
        take(store)
        assert store.pending_chunks(8, at_most=10) == 3

    def test_a_retry_counts_as_a_chunk_once_it_is_due(self, store: JobStore, advance: Advance) -> None:
        a_created(store, 3)
        lease = take(store)
        store.charge(lease, 0, SLOW)
        store.give_back(lease.id)

        assert store.pending_chunks(8, at_most=10) == 2
        advance(1.1)
        assert store.pending_chunks(8, at_most=10) == 3

    @pytest.mark.parametrize("at_most", [0, 1, 7])
    def test_pending_chunks_are_counted_up_to_a_limit(self, store: JobStore, at_most: int) -> None:
        a_created(store, 100_000)

        assert store.pending_chunks(8, at_most=at_most) == at_most

    def test_jobs_without_work_have_no_pending_chunks(self, store: JobStore) -> None:
        for state in JobState:
            if not state.runs:
                job_in(store, state)
                store.claim_finalize()

        assert store.pending_chunks(8, at_most=100) == 0

    def test_a_lock_has_one_owner_until_it_runs_out(self, store: JobStore, advance: Advance) -> None:
        assert store.acquire("maintenance", "a", 5)
        assert not store.acquire("maintenance", "b", 5)
        assert store.acquire("other", "b", 5)
        advance(4)
        assert store.acquire("maintenance", "a", 5)
        advance(4)
        assert not store.acquire("maintenance", "b", 5)
        advance(2)
        assert store.acquire("maintenance", "b", 5)
        assert not store.acquire("maintenance", "a", 5)

    def test_only_its_owner_can_release_a_lock(self, store: JobStore) -> None:
        assert store.acquire("maintenance", "a", 5)
        assert not store.acquire("maintenance", "b", 0)
        assert not store.acquire("maintenance", "b", 5)
        assert not store.acquire("maintenance", "a", 0)
        assert store.acquire("maintenance", "b", 5)
        assert not store.acquire("free", "a", 0)

    def test_a_store_responds_to_ping(self, store: JobStore) -> None:
        store.ping()


class JobStoreContract(
    JobsContract, TransitionsContract, LeasesContract, EndsContract, AttemptsContract, TwoPassesContract,
    FairnessContract, FinalizingContract, ImagesContract, RateContract, MaintenanceContract,
):  # fmt: skip
    """The whole contract."""
