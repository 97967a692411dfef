"""The contract of every job store for owners: whose turn it is, whose jobs are listed, and quotas.

The fixtures are those of `tests.contracts.job_store`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import QuotaExceeded
from shared.jobs.job import Counts, JobState, Quota
from shared.jobstore.port import JobStore
from tests.contracts.job_store import (
    CORRUPT,
    SLOW,
    Advance,
    a_created,
    a_job,
    end_all_leases,
    end_lease,
    take,
)
from tests.finalizing import finish_as

#: No key may contain any of these.
NO_OWNERS = ["", "a b", "a:jobs", "{a}", "a" * 129, "käte", "a\n"]


def owners_served(store: JobStore, count: int, *, limit: int = 8) -> list[str]:
    """Take leases, and return the owners of their jobs."""
    return [store.get(take(store, limit).job_id).owner for _ in range(count)]


class OwnersContract:
    def test_a_job_keeps_the_fields_of_its_creation(self, store: JobStore) -> None:
        job = a_job(5, owner="key_1.a@b-c", bytes=2**40, urgent=True, title="Été «1»", gathered=True)

        store.create(job)

        assert store.get(job.id) == job

    @pytest.mark.parametrize("owner", NO_OWNERS)
    def test_an_owner_whose_name_cannot_be_kept_is_refused(self, store: JobStore, owner: str) -> None:
        with pytest.raises(ValueError, match="owner"):
            store.create(a_job(owner=owner))
        with pytest.raises(ValueError, match="owner"):
            store.admit(owner, 1, quota=Quota())

    def test_a_list_of_one_owner_has_no_job_of_another(self, store: JobStore) -> None:
        mine = [a_created(store, owner="me", created_at=float(at)) for at in range(5)]
        for at in range(5):
            a_created(store, owner="you", created_at=float(at))
        store.delete(mine[1])

        first = store.list(owner="me", limit=3)
        rest = store.list(owner="me", limit=3, cursor=first.next_cursor)

        assert [job.id for job in first.items + rest.items] == [mine[4], mine[3], mine[2], mine[0]]
        assert rest.next_cursor is None
        assert len(store.list().items) == 9
        assert store.list(owner="nobody").items == ()

    def test_the_cursor_of_another_owner_shows_none_of_their_jobs(self, store: JobStore) -> None:
        mine = a_created(store, owner="me", created_at=1.0)
        for at in (2.0, 3.0):
            a_created(store, owner="you", created_at=at)
        cursor = store.list(owner="you", limit=1).next_cursor

        assert [job.id for job in store.list(owner="me", cursor=cursor).items] == [mine]


class OwnersFairnessContract:
    def test_many_jobs_of_one_owner_do_not_delay_the_job_of_another(self, store: JobStore) -> None:
        for _ in range(30):
            a_created(store, 8, owner="many")
        a_created(store, 40, owner="one")

        order = owners_served(store, 10)

        assert Counter(order) == {"many": 5, "one": 5}

    def test_owners_share_evenly_whatever_the_weights_of_their_jobs(self, store: JobStore) -> None:
        a_created(store, 1000, owner="heavy", weight=100.0)
        a_created(store, 1000, owner="light", weight=0.01)

        assert Counter(owners_served(store, 20)) == {"heavy": 10, "light": 10}

    def test_jobs_of_one_owner_share_by_weight_among_themselves(self, store: JobStore) -> None:
        light = a_created(store, 1000, owner="me")
        heavy = a_created(store, 1000, owner="me", weight=3.0)
        other = a_created(store, 1000, owner="you")

        leases = Counter(take(store).job_id for _ in range(80))

        assert leases == {other: 40, heavy: 30, light: 10}

    def test_shares_are_counted_in_images_and_not_in_leases(self, store: JobStore) -> None:
        """The leases of one owner have one image each, because they are retries."""
        retried = a_created(store, 64, owner="retries")
        store.give_back(take(store, 64).id)
        a_created(store, 1000, owner="plain")
        images: Counter[str] = Counter()
        for _ in range(60):
            lease = take(store)
            images["retries" if lease.job_id == retried else "plain"] += len(lease.indices)

        assert abs(images["retries"] - images["plain"]) <= 64 + 8

    def test_an_owner_who_was_away_does_not_catch_up(self, store: JobStore) -> None:
        a_created(store, 8, owner="away")
        a_created(store, 1000, owner="busy")
        owners_served(store, 40)

        a_created(store, 1000, owner="away")

        # An owner who joins at the last lease is ahead by at most that lease.
        assert Counter(owners_served(store, 10))["away"] in (5, 6)

    def test_an_owner_who_was_alone_is_not_penalised(self, store: JobStore) -> None:
        a_created(store, 10_000, owner="busy")
        owners_served(store, 100)

        a_created(store, 1000, owner="new")

        assert Counter(owners_served(store, 10))["new"] in (5, 6)

    def test_a_new_job_of_a_busy_owner_is_served_beside_the_old_one(self, store: JobStore) -> None:
        a_created(store, 10_000, owner="me")
        a_created(store, 10_000, owner="you")
        for _ in range(50):
            take(store)
        small = a_created(store, 16, owner="me")

        order = [take(store).job_id for _ in range(7)]

        assert order.count(small) == 2

    def test_urgent_jobs_have_priority(self, store: JobStore) -> None:
        a_created(store, 1000, owner="batch")
        take(store)
        urgent = [a_created(store, 1, owner="batch", urgent=True) for _ in range(3)]

        assert {take(store).job_id for _ in range(3)} == set(urgent)
        assert take(store).job_id not in urgent

    def test_urgent_jobs_share_between_owners_too(self, store: JobStore) -> None:
        for _ in range(20):
            a_created(store, 1, owner="many", urgent=True)
        one = a_created(store, 1, owner="one", urgent=True)

        assert one in {take(store).job_id for _ in range(3)}

    def test_urgent_work_does_not_reduce_the_share_of_an_owner(self, store: JobStore) -> None:
        a_created(store, 800, owner="a")
        a_created(store, 800, owner="b")
        a_created(store, 400, owner="a", urgent=True)
        owners_served(store, 50)

        assert Counter(owners_served(store, 10)) == {"a": 5, "b": 5}

    def test_an_urgent_retry_that_is_not_due_delays_nobody(
        self, patient_store: JobStore, advance: Advance
    ) -> None:
        store = patient_store
        urgent = a_created(store, 1, urgent=True)
        store.charge(take(store), 0, SLOW)
        batch = a_created(store, 100)

        assert take(store).job_id == batch
        advance(110)
        assert take(store).job_id == urgent

    def test_a_paused_job_gives_its_turn_to_another_job_of_its_owner(self, store: JobStore) -> None:
        first, second = a_created(store, 100, owner="a"), a_created(store, 100, owner="a")
        a_created(store, 100, owner="b")
        store.pause(first)

        leases = Counter(take(store).job_id for _ in range(6))

        assert (leases[first], leases[second]) == (0, 3)

    def test_deleting_the_last_job_of_an_owner_removes_the_owner_from_the_queue(
        self, store: JobStore
    ) -> None:
        store.delete(a_created(store, 100, owner="gone"))
        a_created(store, 100, owner="here")

        assert owners_served(store, 3) == ["here"] * 3


def ended(store: JobStore, job_id: str) -> None:
    end_all_leases(store)
    finish_as(store, job_id, JobState.SUCCEEDED)


class QuotaContract:
    @pytest.mark.parametrize(
        ("quota", "reason"),
        [
            (Quota(images=29), "This server takes 29 unfinished images at most, and has 20"),
            (Quota(owner_images=19), "You may have 19 unfinished images at most, and have 10"),
            (Quota(owner_bytes=199), "keep 199 bytes of photos at most, and keep 100"),
        ],
    )
    def test_a_job_beyond_a_limit_is_refused_and_not_recorded(
        self, store: JobStore, quota: Quota, reason: str
    ) -> None:
        a_created(store, 10, owner="me", bytes=100)
        a_created(store, 10, owner="you", bytes=100)
        job = a_job(10, owner="me", bytes=100)

        with pytest.raises(QuotaExceeded, match=reason):
            store.create(job, quota=quota)

        assert len(store.list().items) == 2
        assert store.totals().unfinished_images == 20
        store.create(job)

    @pytest.mark.parametrize(
        "quota", [Quota(images=30), Quota(owner_images=20), Quota(owner_bytes=200), Quota()]
    )
    def test_a_job_may_reach_a_limit(self, store: JobStore, quota: Quota) -> None:
        a_created(store, 10, owner="me", bytes=100)
        a_created(store, 10, owner="you", bytes=100)

        store.create(a_job(10, owner="me", bytes=100), quota=quota)

        assert store.totals().unfinished_images == 30

    def test_a_job_that_alone_exceeds_a_limit_must_be_sent_in_parts(self, store: JobStore) -> None:
        with pytest.raises(QuotaExceeded, match="alone is more than that"):
            store.create(a_job(11), quota=Quota(images=10))

    def test_repeating_a_known_job_is_not_limited(self, store: JobStore) -> None:
        job = a_job(10)
        store.create(job, quota=Quota(images=10))

        store.create(job, quota=Quota(images=10))

        assert store.totals().unfinished_images == 10

    @pytest.mark.parametrize(
        ("quota", "admitted"),
        [
            (Quota(images=15), True),
            (Quota(images=14), False),
            (Quota(owner_images=14), False),
            (Quota(owner_bytes=101), True),
            (Quota(owner_bytes=100), False),
        ],
    )
    def test_admission_predicts_what_creating_would_do(
        self, store: JobStore, quota: Quota, admitted: bool
    ) -> None:
        a_created(store, 10, owner="me", bytes=100)

        if admitted:
            store.admit("me", 5, quota=quota)
        else:
            with pytest.raises(QuotaExceeded):
                store.admit("me", 5, quota=quota)
        assert store.totals().unfinished_images == 10

    def test_ended_images_free_room(self, store: JobStore) -> None:
        a_created(store, 10)
        lease = take(store, 10)
        store.done(lease, 0)
        store.done(lease, 0)
        store.done(lease, 1, failure=CORRUPT)

        store.admit("anyone", 2, quota=Quota(images=10, owner_images=10))
        with pytest.raises(QuotaExceeded):
            store.admit("anyone", 3, quota=Quota(images=10))

    @pytest.mark.parametrize("bytes", [0, 99, 100, 150])
    def test_from_the_start_on_the_stored_bytes_count(self, store: JobStore, bytes: int) -> None:
        job = a_job(2, owner="me", bytes=100, state=JobState.UPLOADING)
        store.create(job, quota=Quota(owner_bytes=150))

        assert store.start(job.id, bytes=bytes).bytes == bytes
        assert store.get(job.id).bytes == bytes

        store.create(a_job(1, owner="me", bytes=50), quota=Quota(owner_bytes=bytes + 50))
        with pytest.raises(QuotaExceeded):
            store.create(a_job(1, owner="me", bytes=1), quota=Quota(owner_bytes=bytes + 50))

    def test_a_start_with_more_bytes_than_allowed_is_refused(self, store: JobStore) -> None:
        job = a_job(2, owner="me", bytes=100, state=JobState.UPLOADING)
        store.create(job, quota=Quota(owner_bytes=150))

        with pytest.raises(QuotaExceeded, match="keep 150 bytes of photos at most"):
            store.start(job.id, bytes=151)

        assert store.get(job.id).state is JobState.UPLOADING
        assert store.get(job.id).bytes == 100
        assert store.start(job.id, bytes=150).state is JobState.QUEUED

    def test_a_start_that_adds_nothing_is_not_limited(self, store: JobStore) -> None:
        job = a_job(2, owner="me", bytes=100, state=JobState.UPLOADING)
        store.create(job, quota=Quota(owner_images=2, owner_bytes=100))
        a_created(store, 5, owner="me", bytes=500)

        assert store.start(job.id, bytes=100).state is JobState.QUEUED

    @pytest.mark.parametrize(
        ("leave", "kept_bytes"),
        [
            (lambda store, id: store.cancel(id), True),
            (lambda store, id: store.abort(id, CORRUPT), True),
            (lambda store, id: store.expire(id, before=store.now() + 1), False),
            (lambda store, id: store.delete(id), False),
        ],
        ids=["cancel", "abort", "expire", "delete"],
    )
    def test_a_canceled_aborted_expired_or_deleted_job_frees_room(
        self, store: JobStore, leave: Callable[[JobStore, str], object], kept_bytes: bool
    ) -> None:
        job_id = a_created(store, 10, state=JobState.UPLOADING, bytes=100)

        leave(store, job_id)

        store.admit("anyone", 10, quota=Quota(images=10, owner_images=10))
        if kept_bytes:
            with pytest.raises(QuotaExceeded):
                store.admit("anyone", 1, quota=Quota(owner_bytes=100))
        else:
            store.admit("anyone", 1, quota=Quota(owner_bytes=1))

    def test_the_bytes_of_an_ended_job_count_until_it_is_deleted(self, store: JobStore) -> None:
        job_id = a_created(store, 2, bytes=100)
        ended(store, job_id)
        with pytest.raises(QuotaExceeded, match="when some of them are deleted"):
            store.create(a_job(1, bytes=50), quota=Quota(owner_bytes=149))

        store.delete(job_id)

        store.create(a_job(1, bytes=50), quota=Quota(owner_bytes=50))

    def test_retried_images_count_again(self, store: JobStore) -> None:
        job_id = a_created(store, 4)
        end_lease(store, take(store), failing=frozenset({0, 1, 2}))
        finish_as(store, job_id, JobState.PARTIAL)
        assert store.totals().unfinished_images == 0

        store.retry(job_id)

        assert store.totals().unfinished_images == 3


class UncountedContract:
    """Jobs whose images are counted only when they start."""

    def test_images_of_a_job_created_without_them_are_counted_at_its_start(self, store: JobStore) -> None:
        job_id = a_created(store, 0, state=JobState.UPLOADING)
        assert store.get(job_id).progress == 0.0

        job = store.start(job_id, total=20)

        assert (job.state, job.counts) == (JobState.QUEUED, Counts(total=20))
        end_all_leases(store)
        assert store.get(job_id).counts == Counts(total=20, succeeded=20)

    def test_images_counted_at_the_start_are_limited(self, store: JobStore) -> None:
        job = a_job(0, state=JobState.UPLOADING)
        store.create(job, quota=Quota(images=20, owner_images=15))

        for _ in range(2):
            with pytest.raises(QuotaExceeded, match="You may have 15"):
                store.start(job.id, total=16)
        assert store.get(job.id).state is JobState.UPLOADING
        assert store.get(job.id).counts.total == 0

        assert store.start(job.id, total=15).counts.total == 15
        assert store.totals().unfinished_images == 15

    def test_images_counted_at_creation_are_not_counted_again_at_the_start(self, store: JobStore) -> None:
        job = a_job(10, state=JobState.UPLOADING)
        store.create(job, quota=Quota(images=10))

        assert store.start(job.id, total=10).state is JobState.QUEUED

    @pytest.mark.parametrize(("total", "given"), [(0, None), (0, 0), (5, 4), (5, 0)])
    def test_a_start_with_a_missing_or_different_number_is_refused(
        self, store: JobStore, total: int, given: int | None
    ) -> None:
        job_id = a_created(store, total, state=JobState.UPLOADING)

        with pytest.raises(ValueError, match=f"has {total} images"):
            store.start(job_id, total=given)
        assert store.get(job_id).state is JobState.UPLOADING

    def test_starting_again_with_the_same_number_is_no_error(self, store: JobStore) -> None:
        job_id = a_created(store, 0, state=JobState.UPLOADING)
        store.start(job_id, total=3)
        end_lease(store, take(store, 1))

        assert store.start(job_id, total=3).counts == Counts(total=3, succeeded=1)

    def test_a_queued_job_has_at_least_one_image(self, store: JobStore) -> None:
        with pytest.raises(ValueError, match="at least one"):
            store.create(a_job(0))

    @pytest.mark.parametrize("changes", [{"counts": Counts(total=-1)}, {"bytes": -1}])
    def test_counts_are_not_negative(self, store: JobStore, changes: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="not negative"):
            store.create(a_job(**({"state": JobState.UPLOADING} | changes)))


class JobOwnersContract(OwnersContract, OwnersFairnessContract, QuotaContract, UncountedContract):
    """The whole contract."""
